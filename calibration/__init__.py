"""What the checker is calibrated on: broken networks, repaired twins, healthy designs, real architectures."""

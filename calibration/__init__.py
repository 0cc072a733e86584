"""The tables on which the checker is calibrated: broken networks, repaired twins, healthy designs, real architectures."""

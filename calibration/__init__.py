"""The tables on which the checker is calibrated: broken networks, their repaired twins, healthy designs, real architectures."""

"""Floor 3: one vectorised step that trains an ensemble, its naive twin, and what is measured on the way."""

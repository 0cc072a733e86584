"""Floor 2: the networks a study can name."""

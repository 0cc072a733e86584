"""Floor 2: pure measurements on stacked tensors."""

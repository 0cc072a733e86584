"""Floor 2: where data come from. No torch."""

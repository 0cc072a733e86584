"""Floor 3: every way to start a parameter: one file a method, found through one registry."""

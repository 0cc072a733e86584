"""Floor 1: the frozen nouns every floor shares. No torch, no matplotlib, no files."""

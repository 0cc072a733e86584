"""Floor 0: errors, registry, random streams, call texts, references. Standard library only."""

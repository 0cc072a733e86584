"""Everything that is measured of a network before training, as named numbers."""

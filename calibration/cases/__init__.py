"""One file a family of cases; each file's cases stand in its `CASES`."""

"""Programs that keep the repository: run by make, not part of the package."""

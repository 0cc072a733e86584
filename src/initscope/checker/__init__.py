"""The checker: instruments measure a network at its start and leave no trace, rules judge what was measured."""

"""One rule a file; each registers itself in `initscope.check.rule.RULES`."""

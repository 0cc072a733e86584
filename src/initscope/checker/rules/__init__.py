"""One rule a file; each registers itself in `initscope.checker.rule.RULES`."""

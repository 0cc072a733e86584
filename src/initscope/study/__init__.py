"""Floor 4: from a study file to stored runs: read, plan, execute, collect."""

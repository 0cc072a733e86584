"""Floor 7: the command line. Subcommands are loaded when they are called."""

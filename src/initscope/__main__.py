"""`python -m initscope`: the command line."""

from initscope.cli.main import main

main()

"""`python -m tfembed` is the command line."""

from tfembed.cli import main

main()

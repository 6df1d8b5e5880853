"""`python -m imagemill.cli` is the command `imagemill`."""

from imagemill.cli import main

main()

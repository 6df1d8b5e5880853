"""The `imagemill` command."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper

from imagemill.cli.output import open_missing_streams


def main() -> None:
    """Run the command with the process's arguments and exit with its code."""
    # Read when gRPC is first imported: its C core would write its own complaints to the terminal.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Before anything else opens a file.
    open_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A terminal that lacks a character shows a question mark, not a traceback.
            stream.reconfigure(errors="replace")
    try:
        from imagemill.cli.app import app

        app()
    except KeyboardInterrupt:
        sys.exit(130)

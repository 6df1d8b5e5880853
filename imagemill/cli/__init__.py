"""The `imagemill` command."""

from __future__ import annotations

import gc
import os
import sys
from io import TextIOWrapper
from typing import NoReturn

from imagemill.cli.output import PLAIN, give_up_output, open_missing_streams, tell_error


def main() -> NoReturn:
    """Run the command with the process's arguments and end the process with its code."""
    # What is imported stays: searching it for garbage while it grows takes 50 ms. Whoever begins to work enables it.
    gc.disable()
    # Read when gRPC is first imported: its C core would write its own complaints to the terminal.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Before anything else opens a file.
    open_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=PLAIN)
    _leave(_run())


def _run() -> int:
    try:
        from imagemill.cli.app import run_words

        return run_words()
    except KeyboardInterrupt:
        return 130
    except SystemExit:
        # Rich's, which prints the help: its reader went away, and has what it wanted.
        return 0
    except OSError as error:
        if error.filename is None and error.errno is not None and not sys.stdout.closed:
            return give_up_output(error)
        return _unforeseen()
    except Exception:
        return _unforeseen()


def _unforeseen() -> int:
    """Say that the fault is ours, and put what a report of it needs into a file."""
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="imagemill-", suffix=".txt", delete=False, encoding="utf-8") as file:
        traceback.print_exc(file=file)
    tell_error(f"Something went wrong in the command itself. Please report it with the file {file.name}.")
    return 70


def _leave(code: int) -> NoReturn:
    """End the process. Everything is closed by now, and the interpreter's own clearing up takes 0.15 s."""
    try:
        sys.stdout.flush()
    except OSError as error:
        code = give_up_output(error) or code
    try:
        sys.stderr.flush()
    except OSError:
        code = code or 1
    os._exit(code)

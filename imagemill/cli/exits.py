"""How the command ends."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the shell is told; part of the public interface."""

    OK = 0
    """Every item succeeded or was skipped as asked."""
    SOME_FAILED = 1
    """Some items failed or were cancelled; the manifest says which and why."""
    USAGE = 2
    """The command, its input or its output folder can't be used as given; the mill refuses what is asked."""
    UNREACHABLE = 3
    """No mill answers where it was looked for."""
    BROKEN = 70
    """The mill could not go on; the log says why. 70 is EX_SOFTWARE of sysexits.h."""
    UNWRITABLE = 74
    """Standard output can't be written, and it is what was asked for. 74 is EX_IOERR of sysexits.h."""
    INTERRUPTED = 130
    """Stopped by Ctrl-C: 128 + SIGINT, as shells count."""
    TERMINATED = 143
    """Stopped by SIGTERM."""


class CommandError(Exception):
    """The command can't go on; the text tells its user what is wrong and what to do."""

    def __init__(self, message: str, code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.message = message
        self.code = code

"""Standard output and standard error, as the command writes to them."""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import TextIO

PLAIN = "imagemill-plain"
"""How a stream writes what its encoding lacks: our own signs as their likes in ASCII, all else as question marks."""
_LIKES = {"·": "-", "…": ".", "━": "-", "╸": "-", "╺": " "}


def _in_plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_LIKES.get(sign, "?") for sign in error.object[error.start : error.end]), error.end


codecs.register_error(PLAIN, _in_plain)


class LastingStream(io.TextIOBase):
    """A text stream that outlives its reader: once it can't be written any more, what is written is dropped.

    `imagemill run urls.txt | head` must still make the pictures, which are what was asked for. A reader that went
    away knows of it; any other trouble, such as a full disk, is told once on standard error.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write `text`, or drop it if that is impossible."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._drop_all(error)
            return len(text)

    def flush(self) -> None:
        """Hand on what is buffered."""
        if self._stream.closed:  # the interpreter flushes this object when it clears it away, maybe after the stream
            return
        try:
            self._stream.flush()
        except OSError as error:
            self._drop_all(error)

    def isatty(self) -> bool:
        """Whether a person looks at it."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the descriptor, from which the size of a terminal is read."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has an attribute, ours follows the stream
        """Return the stream's encoding."""
        return self._stream.encoding

    def _drop_all(self, error: OSError) -> None:
        _turn_away(self._stream)
        if not isinstance(error, BrokenPipeError) and self._stream is not sys.stderr:
            reason = error.strerror or "input/output error"
            tell_error(f"Standard output can't be written ({reason}); the command goes on without it.")


def open_missing_streams() -> None:
    """Open what the caller closed (`>&-`) onto nothing.

    Else the next file that is opened, a database for one, would be taken for standard output by whatever writes there.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is taken, which is this one: those below are open.
            opened = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(opened, mode, encoding="utf-8", closefd=False))


def give_up_output(error: OSError) -> int:
    """End the output of a command that has nothing else to do, and return its exit code.

    A reader that went away has what it wanted (`imagemill list | head -1`); any other trouble is told.
    """
    _turn_away(sys.stdout)
    if isinstance(error, BrokenPipeError):
        return 0
    tell_error(f"Standard output can't be written: {error.strerror or 'input/output error'}.")
    return 74


def _turn_away(stream: TextIO) -> None:
    # The descriptor itself, because the interpreter flushes it once more at its end.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def tell(text: str) -> None:
    """Write lines for people to standard output."""
    stream = LastingStream(sys.stdout)
    stream.write(f"{text}\n")
    stream.flush()


def tell_error(message: str) -> None:
    """Write a sentence to standard error."""
    LastingStream(sys.stderr).write(f"imagemill: {message}\n")
    LastingStream(sys.stderr).flush()

"""Standard output and standard error, as the command writes to them."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO


class LastingStream(io.TextIOBase):
    """A text stream that outlives its reader: once nobody reads any more, what is written is dropped.

    `imagemill run urls.txt | head` must still make the pictures, which are what was asked for.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write `text`, or drop it if nobody reads."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._drop_all()
            return len(text)

    def flush(self) -> None:
        """Hand on what is buffered."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._drop_all()

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

    def _drop_all(self) -> None:
        # The descriptor itself is turned away, because the interpreter flushes it once more at its end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
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

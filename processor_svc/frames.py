"""Frames on a stream: four bytes of length, most significant first, then that many bytes."""

from __future__ import annotations

from collections.abc import Iterator

_PREFIX = 4


def frame(body: bytes) -> bytes:
    """Give a body with its length in front."""
    return len(body).to_bytes(_PREFIX, "big") + body


class FrameReader:
    """Puts frames together again from the pieces in which a stream delivers them."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Take the next piece of the stream and give the bodies that are complete with it."""
        self._held += piece
        while len(self._held) >= _PREFIX:
            end = _PREFIX + int.from_bytes(self._held[:_PREFIX], "big")
            if len(self._held) < end:
                return
            body = bytes(self._held[_PREFIX:end])
            del self._held[:end]
            yield body

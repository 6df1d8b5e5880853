"""A body on its way in: how fast it comes, and what it is when it is unpacked."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from imagemill.domain.failures import FailureCode, PermanentError, TransientError

PIECE_BYTES = 256 * 1024
"""The most that is inflated at a time: a bomb is counted before it takes memory."""

MOST_MEMBERS = 1_000
"""Members of a gzip body, which has one if it is honest; each costs time, though it may be empty."""

_GZIP_MAGIC = b"\x1f\x8b"


class Pace:
    """Ends a body that comes too slowly, judged over whole windows of time.

    A body that doesn't come at all never calls `note`: the read timeout sees to that.
    """

    def __init__(self, min_bytes_per_s: float, window_s: float, monotonic: Callable[[], float]) -> None:
        self._needed = min_bytes_per_s * window_s
        self._window_s = window_s
        self._monotonic = monotonic
        self._start = monotonic()
        self._received = 0

    def note(self, received: int) -> None:
        """Count `received` more bytes.

        Raises `TransientError` TOO_SLOW when a window has passed that brought too few.
        """
        self._received += received
        now = self._monotonic()
        if now - self._start < self._window_s:
            return
        if self._received < self._needed:
            raise TransientError(
                FailureCode.TOO_SLOW,
                f"The server sends less than {self._needed / self._window_s:,.0f} bytes a second; "
                "try again later, or with fewer downloads at a time.",
            )
        self._start, self._received = now, 0


class Unpacker(Protocol):
    """Turns what came over the wire into content."""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the content that `piece` completes, at most `PIECE_BYTES` at a time if it was packed.

        Raises `TransientError` CONTENT_ENCODING_INVALID when the packing is damaged.
        """

    def finish(self) -> None:
        """Note that nothing more comes.

        Raises `TransientError` CONTENT_TRUNCATED when the packing says that something is missing.
        """


def unpacker_for(encoding: str) -> Unpacker:
    """Return the unpacker for a Content-Encoding header's value.

    Raises `PermanentError` CONTENT_ENCODING_INVALID for an encoding that the mill did not ask for.
    """
    match encoding.strip().lower():
        case "" | "identity":
            return _Plain()
        case "gzip" | "x-gzip":
            return _Inflater(_gzip)
        case "deflate":
            return _Inflater(_zlib_or_raw)
    raise PermanentError(
        FailureCode.CONTENT_ENCODING_INVALID,
        "The server packs the picture in a way that was not asked for; the mill reads gzip and deflate. "
        "Tell the server's owner.",
    )


class _Plain:
    def feed(self, piece: bytes) -> Iterator[bytes]:
        yield piece

    def finish(self) -> None:
        """Nothing can be missing: the length was counted below."""


class _Inflater:
    def __init__(self, start: Callable[[bytes], zlib._Decompress]) -> None:
        self._start = start
        self._inflate: zlib._Decompress | None = None
        self._members = 0
        self._kept = b""
        """The end of a piece that may be the beginning of another member."""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        piece, self._kept = self._kept + piece, b""
        more = bool(piece)
        while more:
            if self._inflate is None:
                # Padding after a whole member is allowed and common; only another member counts.
                if self._members and not piece.startswith(_GZIP_MAGIC):
                    self._kept = piece if _GZIP_MAGIC.startswith(piece) else b""
                    return
                if self._members >= MOST_MEMBERS:
                    raise _damaged()
                self._inflate = self._start(piece)
            content = self._advance(self._inflate, piece)
            if content:
                yield content
            piece, more = self._inflate.unconsumed_tail, len(content) == PIECE_BYTES
            if self._inflate.eof:
                piece, more = self._inflate.unused_data, False
                self._inflate, self._members = None, self._members + 1
            # A full piece may leave content inside zlib although it has swallowed all that came.
            more = more or bool(piece)

    def finish(self) -> None:
        if self._inflate is not None:
            raise TransientError(
                FailureCode.CONTENT_TRUNCATED,
                "The picture was packed, and the end of it is missing; "
                "if it is each time, the file is broken at its source.",
            )

    @staticmethod
    def _advance(inflate: zlib._Decompress, piece: bytes) -> bytes:
        try:
            return inflate.decompress(piece, PIECE_BYTES)
        except zlib.error as error:
            raise _damaged() from error


def _damaged() -> TransientError:
    return TransientError(
        FailureCode.CONTENT_ENCODING_INVALID,
        "The picture was packed and can't be unpacked: it is damaged; try again later.",
    )


def _gzip(_head: bytes) -> zlib._Decompress:
    return zlib.decompressobj(16 + zlib.MAX_WBITS)


def _zlib_or_raw(head: bytes) -> zlib._Decompress:
    """Read `deflate` as RFC 9110, 8.4.1.2 has it, with a zlib head, or as many servers have it, without."""
    has_zlib_head = head[0] & 0x0F == 8 and (len(head) < 2 or int.from_bytes(head[:2], "big") % 31 == 0)
    return zlib.decompressobj(zlib.MAX_WBITS if has_zlib_head else -zlib.MAX_WBITS)

"""What stands in a PNG beside the picture, and can be too large for memory when the picture is not."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

LIMIT = 1 << 20
"""Bytes to which a text or a profile may unpack; the decoder refuses a picture with more."""

_SIGNATURE_BYTES = 8
_PACKED = frozenset({b"zTXt", b"iTXt", b"iCCP"})
_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})


def without_large(data: bytes) -> bytes | None:
    """Give a PNG without its texts and without its profile, if that is larger than the limit; None if none is.

    Asked of pictures that could not be decoded: the decoder refuses them for such a text, too.
    """
    chunks = list(_chunks(data))
    large = [kind for kind, chunk in chunks if kind in _PACKED and _unpacks_to_more(chunk)]
    texts = sum(len(chunk) for kind, chunk in chunks if kind in _TEXTS)
    if not large and texts <= LIMIT:
        return None
    left_out = _TEXTS | set(large)
    return data[:_SIGNATURE_BYTES] + b"".join(chunk for kind, chunk in chunks if kind not in left_out)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Give each chunk's kind, and the whole chunk with length and checksum (PNG specification, section 5.3)."""
    at = _SIGNATURE_BYTES
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], data[at:end]
        at = end


def _unpacks_to_more(chunk: bytes) -> bool:
    # Where the packed part begins depends on texts before it; the stream's own first byte is looked for instead.
    body = chunk[8:-4]
    start = body.find(b"\x78", body.find(b"\0"))
    while start >= 0:
        try:
            return len(zlib.decompressobj().decompress(body[start:], LIMIT + 1)) > LIMIT
        except zlib.error:
            start = body.find(b"\x78", start + 1)
    return False

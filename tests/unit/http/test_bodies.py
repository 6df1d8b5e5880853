from __future__ import annotations

import gzip
import random
import zlib
from itertools import pairwise

import pytest

from imagemill.domain.failures import FailureCode, PermanentError, TransientError
from imagemill.http.bodies import PIECE_BYTES, Pace, unpacker_for

CONTENT = random.Random(7).randbytes(50_000) + bytes(1_000_000)


def raw_deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


PACKED = {
    "gzip": gzip.compress(CONTENT),
    "x-gzip": gzip.compress(CONTENT),
    " GZIP ": gzip.compress(CONTENT[:1000]) + gzip.compress(CONTENT[1000:]) + bytes(8),
    "deflate": zlib.compress(CONTENT),
    "Deflate": raw_deflate(CONTENT),
    "identity": CONTENT,
    "": CONTENT,
}


def unpacked(encoding: str, packed: bytes, step: int) -> bytes:
    unpacker = unpacker_for(encoding)
    cuts = [*range(0, len(packed), step), len(packed)]
    content = [part for start, end in pairwise(cuts) for part in unpacker.feed(packed[start:end])]
    unpacker.finish()
    return b"".join(content)


@pytest.mark.parametrize("step", [7, 1000, 10_000_000])
@pytest.mark.parametrize("encoding", PACKED)
def test_what_was_packed_comes_out_however_it_arrives(encoding: str, step: int) -> None:
    assert unpacked(encoding, PACKED[encoding], step) == CONTENT


@pytest.mark.parametrize("pieces", [1, 2, 3])
@pytest.mark.parametrize("step", [50, 10_000_000])
def test_content_that_zlib_holds_back_comes_out_to_the_end(pieces: int, step: int) -> None:
    # Without a trailer behind it, zlib swallows all of the input while a piece's worth is still to come.
    for length in range(pieces * PIECE_BYTES - 2, pieces * PIECE_BYTES + 300, 37):
        content = bytes(length)

        assert unpacked("deflate", raw_deflate(content), step) == content


def test_members_come_out_wherever_the_pieces_end() -> None:
    packed = gzip.compress(b"one ") + gzip.compress(b"two") + b"\x1f"
    for end in range(1, len(packed)):
        unpacker = unpacker_for("gzip")
        content = [*unpacker.feed(packed[:end]), *unpacker.feed(packed[end:])]
        unpacker.finish()
        assert b"".join(content) == b"one two"


def test_members_without_end_and_without_content_are_damage() -> None:
    unpacker = unpacker_for("gzip")

    with pytest.raises(TransientError) as caught:
        list(unpacker.feed(gzip.compress(b"") * 2_000))

    assert caught.value.failure.code is FailureCode.CONTENT_ENCODING_INVALID


def test_a_bomb_goes_off_piece_by_piece() -> None:
    bomb = gzip.compress(bytes(50_000_000))

    sizes = [len(content) for content in unpacker_for("gzip").feed(bomb)]

    assert sum(sizes) == 50_000_000
    assert max(sizes) <= PIECE_BYTES


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_missing_end_is_noticed(encoding: str) -> None:
    with pytest.raises(TransientError) as caught:
        unpacked(encoding, PACKED[encoding][:-20], 1000)

    assert caught.value.failure.code is FailureCode.CONTENT_TRUNCATED


def test_damage_is_noticed() -> None:
    with pytest.raises(TransientError) as caught:
        unpacked("gzip", b"\xff\xd8\xff\xe0 this is not packed", 1000)

    assert caught.value.failure.code is FailureCode.CONTENT_ENCODING_INVALID


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "nonsense"])
def test_an_encoding_nobody_asked_for_is_refused(encoding: str) -> None:
    with pytest.raises(PermanentError) as caught:
        unpacker_for(encoding)

    assert caught.value.failure.code is FailureCode.CONTENT_ENCODING_INVALID


def test_a_body_is_too_slow_when_a_whole_window_brought_too_little() -> None:
    now = 0.0
    pace = Pace(1000.0, 10.0, lambda: now)
    now = 9.9
    pace.note(10_000)
    now = 10.1
    pace.note(1)  # the first window was fast enough, and a new one begins

    now = 20.2
    with pytest.raises(TransientError) as caught:
        pace.note(9_000)

    assert caught.value.failure.code is FailureCode.TOO_SLOW
    assert "1,000 bytes a second" in caught.value.failure.message

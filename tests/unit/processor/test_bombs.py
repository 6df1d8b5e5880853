"""Files that would take all memory there is: refused before it is spent, in real processes with the real limits."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from PIL import Image

from imagemill.domain.failures import FailureCode, PipelineError
from processor_svc.pool import PoolSettings, RenderPool
from tests.unit.processor.handmade import bmp, chunk, gif, png, tiff, tiff_tags, webp_canvas
from tests.unit.processor.pictures import encoded, job_for, quadrants, rendered
from tests.unit.processor.test_pictures_tiff_bmp_avif import AVIF_10_BIT

SMALL: dict[str, object] = {"width": 32}
LIMIT = "the limit is 100,000,000 pixels"
MIB = 1 << 20


def whole_png(width: int, height: int) -> bytes:
    """A PNG that holds all the pixels it promises, of one bit each."""
    row = bytes(1 + width // 8)
    packer = zlib.compressobj(1)
    body = b"".join(packer.compress(row * 1000) for _ in range(height // 1000)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def large_jpeg() -> bytes:
    data = encoded(quadrants(), "JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", 65000, 65000) + data[at + 4 :]


def large_avif() -> bytes:
    return AVIF_10_BIT.replace(
        b"ispe\0\0\0\0" + struct.pack(">II", 16, 16), b"ispe\0\0\0\0" + struct.pack(">II", 16384, 16384)
    )


def animated(format_: str, side: int, frames: int) -> bytes:
    pictures = [Image.new("L", (side, side), number % 256) for number in range(frames)]
    options = {"lossless": True, "minimize_size": False} if format_ == "WEBP" else {}
    return encoded(pictures[0], format_, save_all=True, append_images=pictures[1:], **options)


def pages() -> bytes:
    page = Image.new("1", (2000, 1000))
    return encoded(page, "TIFF", save_all=True, append_images=[page] * 59, compression="group4")


def icon() -> bytes:
    bomb = whole_png(30_000, 30_000)
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(bomb), 22) + bomb


TOO_LARGE: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "png": ("png", lambda: whole_png(30_000, 30_000), "30,000 x 30,000"),
    "png frames": ("png", lambda: animated("PNG", 400, 700), "700 frames of 400 x 400"),
    "gif screen": ("gif", lambda: gif((65_535, 65_535), [((0, 0, 4, 4), 1)]), "65,535 x 65,535"),
    "gif frames": ("gif", lambda: gif((1000, 1000), [((0, 0, 2, 2), 1)] * 2000), "2,000 frames of 1,000 x 1,000"),
    "webp canvas": ("webp", lambda: webp_canvas(16_384, 16_384), "16,384 x 16,384"),
    "webp canvas, just too large": ("webp", lambda: webp_canvas(12_000, 12_000), "12,000 x 12,000"),
    "webp frames": ("webp", lambda: animated("WEBP", 400, 700), "700 frames of 400 x 400"),
    "tiff": ("tiff", lambda: tiff("<", tiff_tags((60_000, 60_000), (8,), 1), bytes(100)), "60,000 x 60,000"),
    "tiff pages": ("tiff", pages, "60 frames of 2,000 x 1,000"),
    "bmp": ("bmp", lambda: bmp((50_000, 50_000), 24, bytes(100)), "50,000 x 50,000"),
    "jpeg": ("jpeg", large_jpeg, "65,000 x 65,000"),
    "avif": ("avif", large_avif, "16,384 x 16,384"),
    "icon": ("ico", icon, "more pixels than the limit"),
}


def peak_bytes(pid: int) -> int:
    """The most memory that a process has held since its start."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


async def refusal(folder: Path, data: bytes, format_: str) -> PipelineError | None:
    """What a real process says of a bomb, if anything; neither it nor this process may grow of it."""
    here = psutil.Process()
    job = job_for(folder, data, format_, SMALL)
    async with RenderPool(PoolSettings(children=1)) as pool:
        (child,) = pool.pids
        before, idle = here.memory_info().rss, peak_bytes(child)
        error = None
        try:
            await pool.render(job)
        except PipelineError as raised:
            error = raised
        assert pool.pids == [child], "the process has survived it"
        assert here.memory_info().rss - before < 50 * MIB
        assert peak_bytes(child) - idle < 150 * MIB
    return error


@pytest.mark.parametrize("name", TOO_LARGE)
async def test_too_many_pixels_are_refused_before_memory_is_spent(name: str, tmp_path: Path) -> None:
    format_, make, size = TOO_LARGE[name]

    error = await refusal(tmp_path, make(), format_)

    assert error is not None
    assert error.failure.code is FailureCode.TOO_MANY_PIXELS
    assert size in error.failure.message
    assert LIMIT in error.failure.message


def directory(entries: int, each: int) -> bytes:
    """A TIFF whose values lie all at the same place."""
    listed = b"".join(struct.pack("<HHII", 40_000 + number, 7, each, 8) for number in range(entries))
    body = bytes(each)
    return b"II*\0" + struct.pack("<I", 8 + each) + body + struct.pack("<H", entries) + listed + bytes(4)


async def test_a_tiff_whose_values_lie_over_one_another_is_refused(tmp_path: Path) -> None:
    error = await refusal(tmp_path, directory(2_000, 2 * MIB), "tiff")

    assert error is not None
    assert error.failure.code is FailureCode.DECODE_FAILED


async def test_a_tile_larger_than_memory_is_refused(tmp_path: Path) -> None:
    tags = tiff_tags((16, 16), (8, 8, 8), 2)
    tags = {number: value for number, value in tags.items() if number != 278}
    tags |= {259: (3, [8]), 322: (4, [65_520]), 323: (4, [65_520]), 324: (4, [8]), 325: (4, [40])}

    error = await refusal(tmp_path, tiff("<", tags, zlib.compress(bytes(100))), "tiff")

    assert error is not None
    assert error.failure.code in (FailureCode.DECODE_FAILED, FailureCode.MEMORY_EXCEEDED)


NOTES = {"zTXt": b"Comment\0\0", "iTXt": b"Comment\0\1\0\0\0", "iCCP": b"Profile\0\0"}
"""What stands in a chunk before the part that is packed."""


@pytest.mark.parametrize("place", ["before", "behind"])
@pytest.mark.parametrize("kind", NOTES)
async def test_notes_that_unpack_to_gigabytes_are_left_out(kind: str, place: str, tmp_path: Path) -> None:
    packed = zlib.compress(bytes(200 * MIB), 1)
    note = chunk(kind.encode(), NOTES[kind] + packed)
    before, behind = (note, b"") if place == "before" else (b"", note)
    data = png((8, 8), 8, 2, lambda x, y: (1, 2, 3), before=before, behind=behind)

    assert await refusal(tmp_path, data, "png") is None

    result, _ = rendered(tmp_path, data, "png", SMALL)
    assert result.warnings == ("Texts or a profile that unpack to more than 1,048,576 bytes were ignored.",)


@pytest.mark.parametrize("container", ["PNG", "WEBP", "AVIF"])
@pytest.mark.filterwarnings("ignore:Tag data larger than file")  # from the encoder that the test uses
async def test_exif_whose_values_lie_over_one_another_is_left_out(container: str, tmp_path: Path) -> None:
    data = encoded(quadrants(), container, exif=b"Exif\0\0" + directory(20_000, MIB))

    assert await refusal(tmp_path, data, container.lower()) is None

    result, _ = rendered(tmp_path, data, container.lower(), SMALL)
    assert result.source.exif == {}

from __future__ import annotations

import random
import re
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from imagemill.domain.failures import FailureCode, PermanentError, PipelineError, TransientError
from processor_svc.jobs import RenderJob
from processor_svc.render import render
from processor_svc.truncation import ends_early
from tests.unit.processor.pictures import encoded, job_for, photo, png_bomb, quadrants, rendered

SMALL: dict[str, object] = {"width": 32, "height": 32}
CONTAINERS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "ICO"]


def failure_of(folder: Path, data: bytes, format_: str, *variants: dict[str, object], **more: int) -> PipelineError:
    with pytest.raises(PipelineError) as raised:
        render(job_for(folder, data, format_, *variants or (SMALL,), **more))
    return raised.value


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_a_file_cut_short_is_truncated_and_worth_another_try(container: str, share: float, tmp_path: Path) -> None:
    data = encoded(photo(200, 150), container)

    error = failure_of(tmp_path, data[: int(len(data) * share)], container.lower())

    assert isinstance(error, TransientError)
    assert error.failure.code is FailureCode.CONTENT_TRUNCATED
    # Its length was met, or else the downloader would have said so.
    assert "download" not in error.failure.message
    assert "broken at its source" in error.failure.message


JPEGS: dict[str, dict[str, object]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "subsampled": {"subsampling": 2, "quality": 70},
    "with restarts": {"restart_marker_blocks": 3},
    "progressive with restarts": {"progressive": True, "restart_marker_rows": 1},
}


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("lost", [1, 2])
@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
def test_a_jpeg_that_lacks_only_its_end_marker_is_rendered_with_a_warning(
    options: dict[str, object], lost: int, mode: str, tmp_path: Path
) -> None:
    whole = encoded(photo(203, 151).convert(mode), "JPEG", **options)
    unreduced: dict[str, object] = {"width": 203, "format": "png"}

    result, (image,) = rendered(tmp_path, whole[:-lost], "jpeg", unreduced)

    assert result.warnings == ("The file lacks its end marker; the picture is complete.",)
    assert result.source.height == 151
    assert image.tobytes() == rendered(tmp_path, whole, "jpeg", unreduced)[1][0].tobytes()


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
def test_a_jpeg_that_lacks_any_of_its_pixels_is_truncated(options: dict[str, object], tmp_path: Path) -> None:
    whole = encoded(photo(203, 151), "JPEG", **options)

    for lost in (3, 4, 5, 8, 13, 40, 300, 2000):
        error = failure_of(tmp_path, whole[:-lost], "jpeg")

        assert error.failure.code is FailureCode.CONTENT_TRUNCATED, lost


def test_a_progressive_jpeg_that_ends_between_two_scans_is_truncated(tmp_path: Path) -> None:
    whole = encoded(photo(203, 151), "JPEG", progressive=True)
    scans = [found.start() for found in re.finditer(rb"\xff\xda", whole)]
    tables = [found.start() for found in re.finditer(rb"\xff\xc4", whole)]

    assert len(scans) > 5
    for end in [at for at in scans + tables if at > scans[0]]:
        assert failure_of(tmp_path, whole[:end], "jpeg").failure.code is FailureCode.CONTENT_TRUNCATED


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_whole_file_does_not_end_early(container: str) -> None:
    assert not ends_early(encoded(photo(100, 80), container), container.lower())


@pytest.mark.parametrize("container", ["PNG", "WEBP"])
def test_a_damaged_file_is_undecodable_for_good(container: str, tmp_path: Path) -> None:
    data = bytearray(encoded(photo(200, 150), container))
    middle = len(data) // 2
    data[middle : middle + 400] = random.Random(3).randbytes(400)

    error = failure_of(tmp_path, bytes(data), container.lower())

    assert isinstance(error, PermanentError)
    assert error.failure.code is FailureCode.DECODE_FAILED
    assert container in error.failure.message


@pytest.mark.parametrize("container", CONTAINERS)
def test_garbage_of_any_kind_is_a_failure_of_the_content(container: str, tmp_path: Path) -> None:
    chance = random.Random(5)
    good = encoded(quadrants(), container)
    codes: set[FailureCode | None] = set()

    for _ in range(60):
        data = bytearray(good)
        for _ in range(8):
            data[chance.randrange(len(data))] = chance.randrange(256)
        codes.add(_code_of(job_for(tmp_path, bytes(data), container.lower(), SMALL)))

    assert codes <= {
        None,
        FailureCode.DECODE_FAILED,
        FailureCode.CONTENT_TRUNCATED,
        FailureCode.TOO_MANY_PIXELS,
        FailureCode.MEMORY_EXCEEDED,
    }
    assert len(codes) > 1 or container == "BMP"  # eight wrong bytes of a BMP are eight wrong pixels


def _code_of(job: RenderJob) -> FailureCode | None:
    try:
        render(job)
    except PipelineError as error:
        return error.failure.code
    return None


@pytest.mark.parametrize("side", [1100, 2_000, 30_000])
def test_too_many_pixels_are_refused_before_decoding(side: int, tmp_path: Path) -> None:
    error = failure_of(tmp_path, png_bomb(side, side), "png", max_pixels=1_000_000)

    assert isinstance(error, PermanentError)
    assert error.failure.code is FailureCode.TOO_MANY_PIXELS
    assert error.failure.message == f"The picture has {side:,} x {side:,} pixels; the limit is 1,000,000 pixels."


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("limit", [1_000, 3_000])
def test_in_every_format_too_many_pixels_are_told_with_the_limit(container: str, limit: int, tmp_path: Path) -> None:
    data = encoded(photo(80, 60), container, **({"sizes": [(80, 60)]} if container == "ICO" else {}))

    error = failure_of(tmp_path, data, container.lower(), max_pixels=limit)

    assert error.failure.code is FailureCode.TOO_MANY_PIXELS
    assert f"the limit is {limit:,} pixels" in error.failure.message
    assert "80 x 60" in error.failure.message or container == "ICO"


def test_an_icon_that_holds_more_than_its_directory_says_is_refused_before_decoding(tmp_path: Path) -> None:
    bomb = png_bomb(20_000, 20_000)
    data = struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(bomb), 22) + bomb

    assert failure_of(tmp_path, data, "ico").failure.code is FailureCode.TOO_MANY_PIXELS


def test_the_pixels_of_all_frames_count(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (100, 100), (shade, 0, 0)) for shade in range(0, 250, 25)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])

    error = failure_of(tmp_path, data, "gif", max_pixels=50_000)

    assert error.failure.code is FailureCode.TOO_MANY_PIXELS
    assert "10 frames of 100 x 100 pixels, 100,000 in all; the limit is 50,000" in error.failure.message


def test_a_render_beyond_the_limits_is_refused_before_it_is_made(tmp_path: Path) -> None:
    data = encoded(Image.new("L", (1, 2000)), "PNG")

    error = failure_of(tmp_path, data, "png", {"width": 16383, "upscale": True})

    assert error.failure.code is FailureCode.ENCODE_FAILED
    assert "'a' would be 16,383 x" in error.failure.message


def test_an_original_that_is_gone_or_shorter_than_it_was_is_worth_another_try(tmp_path: Path) -> None:
    job = job_for(tmp_path, encoded(quadrants(), "PNG"), "png", SMALL)

    with pytest.raises(TransientError) as shorter:
        render(replace(job, size_bytes=job.size_bytes + 1))
    with pytest.raises(TransientError) as gone:
        render(replace(job, path=str(tmp_path / "absent")))

    assert shorter.value.failure.code is FailureCode.CONTENT_TRUNCATED
    assert gone.value.failure.code is FailureCode.STORE_UNAVAILABLE


def test_an_output_that_cannot_be_written_is_the_stores_failure(tmp_path: Path) -> None:
    job = job_for(tmp_path, encoded(quadrants(), "PNG"), "png", SMALL)
    full = Path("/dev/full")

    with pytest.raises(TransientError) as unwritable:
        render(replace(job, outputs={"a": str(tmp_path / "absent" / "a")}))
    assert unwritable.value.failure.code is FailureCode.STORE_UNAVAILABLE
    if full.exists():
        with pytest.raises(TransientError) as no_room:
            render(replace(job, outputs={"a": str(full)}))
        assert no_room.value.failure.code is FailureCode.STORE_FULL


def test_no_message_holds_a_foreign_errors_text(tmp_path: Path) -> None:
    error = failure_of(tmp_path, b"no picture at all;", "gif")

    assert error.failure.message == "The content is damaged: it cannot be decoded as GIF."
    assert error.__cause__ is not None
    assert "cannot identify" in str(error.__cause__)

"""One original in, all variants of a recipe out: decoded once, reduced in a chain, encoded."""

from __future__ import annotations

import hashlib
import io
import math
import resource
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from errno import EDQUOT, EFBIG, ENOSPC

from PIL import Image

from imagemill.domain.failures import FailureCode, PermanentError, TransientError
from imagemill.domain.recipe import ColorProfile, Format, Metadata, Variant, extension, output_format
from processor_svc import metadata
from processor_svc.geometry import Box, Plan, largest_ratio, plan
from processor_svc.jobs import Render, RenderJob, RenderResult, Timings
from processor_svc.opening import Original, announced_size, open_original, too_many_pixels
from processor_svc.pixels import Layer, compose, prepare, resize_all
from processor_svc.truncation import END_OF_JPEG, ends_early, has_all_scans

_CONTINUATIONS = (b"\x00" * 64, b"\x55\xaa" * 32)
_STRIP = 256
"""Rows of a picture that are copied at a time to be compared."""

_SIDE_LIMITS = {Format.JPEG: 65500, Format.WEBP: 16383, Format.AVIF: 65535, Format.PNG: 2**31 - 1}


class _Clock:
    """Times the stages of one job, in milliseconds."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self._cpu_before = time.process_time()

    def lap(self) -> float:
        last, self._last = self._last, time.perf_counter()
        return (self._last - last) * 1000.0

    def cpu(self) -> float:
        return (time.process_time() - self._cpu_before) * 1000.0


def render(job: RenderJob) -> RenderResult:
    """Make all variants of one original and write them to the job's outputs.

    Same bytes and same recipe give the same renders. When it fails, some outputs may have been written.

    Raises:
        TransientError: CONTENT_TRUNCATED; STORE_FULL or STORE_UNAVAILABLE for files that cannot be used.
        PermanentError: DECODE_FAILED, TOO_MANY_PIXELS, MEMORY_EXCEEDED, ENCODE_FAILED.
    """
    with _memory_translated():
        data = _read(job)
        clock = _Clock()
        with _decoding_translated(data, job):
            original, plans, layer = _planned_and_decoded(data, job)
            decode_ms = clock.lap()
            keep_profile = job.recipe.color_profile is ColorProfile.KEEP
            base = prepare(layer, original.appearance, largest_ratio(plans), keep_profile=keep_profile)
        pictures = _pictures(base.layer, plans, original, job)
        resize_ms = clock.lap()
        renders = _encode_all(pictures, original, base.profile, job)
    timings = Timings(round(decode_ms, 3), round(resize_ms, 3), round(clock.lap(), 3), round(clock.cpu(), 3))
    remarks = (*original.warnings, base.remark) if base.remark else original.warnings
    return RenderResult(original.facts, renders, timings, remarks)


def _read(job: RenderJob) -> bytes:
    try:
        with open(job.path, "rb") as file:
            data = file.read(job.size_bytes)
    except OSError as error:
        raise TransientError(
            FailureCode.STORE_UNAVAILABLE, "The downloaded original could not be read from the working folder."
        ) from error
    if len(data) < job.size_bytes:
        raise TransientError(FailureCode.CONTENT_TRUNCATED, "The downloaded original is shorter than it was.")
    return data


@contextmanager
def _memory_translated() -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise PermanentError(
            FailureCode.MEMORY_EXCEEDED, f"The picture needs more memory than {_memory_limit()} may use."
        ) from error


def _memory_limit() -> str:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return "a rendering process"
    return f"the {limit / 2**20:,.0f} MiB that a rendering process"


@contextmanager
def _decoding_translated(data: bytes, job: RenderJob) -> Iterator[None]:
    """Turn whatever a decoder raises into a failure of the content.

    Decoders meet broken content with any exception there is (OSError, SyntaxError, ValueError, KeyError,
    struct.error, ...), so all but the mill's own and the want of memory are the content's fault.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        Image.MAX_IMAGE_PIXELS = job.max_pixels
        try:
            yield
        except (PermanentError, TransientError, MemoryError):
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise too_many_pixels(announced_size(data), 1, job.max_pixels) from error
        except Exception as error:
            if "truncated" in str(error).lower() or ends_early(data, job.format):
                raise TransientError(
                    FailureCode.CONTENT_TRUNCATED,
                    "The file itself ends too early; if it does each time, it is broken at its source.",
                ) from error
            raise PermanentError(
                FailureCode.DECODE_FAILED, f"The content is damaged: it cannot be decoded as {job.format.upper()}."
            ) from error


def _planned_and_decoded(data: bytes, job: RenderJob) -> tuple[Original, list[Plan], Layer]:
    """Open, plan and decode; if that fails of something beside the picture, do it again without."""
    try:
        return _attempt(data, job)
    except (OSError, ValueError):
        mended = _mended(data, job.format)
        if mended is None:
            raise
    whole, remark = mended
    original, plans, layer = _attempt(whole, job)
    return replace(original, warnings=(*original.warnings, remark)), plans, layer


def _mended(data: bytes, format_: str) -> tuple[bytes, str] | None:
    """Give the picture in a form that can be decoded, and a remark on it; None if it has none."""
    if format_ == "jpeg" and _lacks_only_its_end(data):
        return _ended(data), "The file lacks its end marker; the picture is complete."
    if format_ != "png":
        return None
    from processor_svc import png_notes

    if bare := png_notes.without_large(data):
        return bare, f"Texts or a profile that unpack to more than {png_notes.LIMIT:,} bytes were ignored."
    return None


def _attempt(data: bytes, job: RenderJob) -> tuple[Original, list[Plan], Layer]:
    original = open_original(data, job)
    plans = [plan(variant, original.appearance.size) for variant in job.recipe.variants]
    _check_renders(plans, original.facts.format, job)
    return original, plans, _decode(original, plans, job)


def _ended(data: bytes, continuation: bytes = b"") -> bytes:
    # A marker's first byte may be what is left of the end marker.
    return data.rstrip(b"\xff") + continuation + END_OF_JPEG


def _lacks_only_its_end(data: bytes) -> bool:
    """Say whether all pixels of a JPEG without an end are there: then nothing that follows can change them.

    The decoder fills in what is missing and does not tell, so it is asked with different continuations.
    """
    if not ends_early(data, "jpeg") or not has_all_scans(data):
        return False
    pixels = _digest_of_pixels(_ended(data))
    return all(_digest_of_pixels(_ended(data, more)) == pixels for more in _CONTINUATIONS)


def _digest_of_pixels(data: bytes) -> bytes:
    digest = hashlib.blake2b()
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        for top in range(0, image.height, _STRIP):
            digest.update(image.crop((0, top, image.width, min(top + _STRIP, image.height))).tobytes())
    return digest.digest()


def _check_renders(plans: list[Plan], source_format: str, job: RenderJob) -> None:
    for variant, planned in zip(job.recipe.variants, plans, strict=True):
        width, height = planned.canvas
        format_ = output_format(variant, source_format)
        limit = _SIDE_LIMITS[format_]
        if max(width, height) > limit or width * height > job.max_pixels:
            raise PermanentError(
                FailureCode.ENCODE_FAILED,
                f"The variant '{variant.name}' would be {width:,} x {height:,} pixels: "
                f"the limits are {limit:,} a side in {format_.upper()} and {job.max_pixels:,} in all.",
            )


def _decode(original: Original, plans: list[Plan], job: RenderJob) -> Layer:
    """Decode, a JPEG only as large as needed: its decoder halves up to three times at almost no cost."""
    image, need = original.image, largest_ratio(plans)
    full = image.size
    box: Box = (0.0, 0.0, float(full[0]), float(full[1]))
    if original.facts.format == "jpeg" and need < 1.0:
        drafted = image.draft(None, (math.ceil(full[0] * need), math.ceil(full[1] * need)))
        box = drafted[1] if drafted else box
    image.load()
    return Layer(image, box)


def _pictures(base: Layer, plans: list[Plan], original: Original, job: RenderJob) -> list[tuple[Variant, Image.Image]]:
    sized = resize_all(base, plans, original.appearance.size)
    return [
        (variant, compose(image, variant, planned.canvas, original.facts.format))
        for variant, planned, image in zip(job.recipe.variants, plans, sized, strict=True)
    ]


def _encode_all(
    pictures: list[tuple[Variant, Image.Image]], original: Original, profile: bytes | None, job: RenderJob
) -> tuple[Render, ...]:
    carried: dict[str, object] = {"icc_profile": profile} if profile else {}
    if job.recipe.metadata is Metadata.KEEP and (exif := _kept_exif(original.exif)):
        carried["exif"] = exif
    return tuple(
        _encode(variant, image, original.facts.format, carried, job.outputs[variant.name])
        for variant, image in pictures
    )


def _kept_exif(exif: Image.Exif) -> bytes | None:
    with suppress(Exception):  # unreadable notes are dropped, as when they are read
        main, details = metadata.kept(exif, exif.get_ifd(metadata.EXIF_IFD))
        if main or details:
            upright = Image.Exif()
            upright.update(main)
            upright.get_ifd(metadata.EXIF_IFD).update(details)
            return upright.tobytes()
    return None


def _encode(variant: Variant, image: Image.Image, source_format: str, carried: dict[str, object], path: str) -> Render:
    format_ = output_format(variant, source_format)
    options: dict[str, object] = {**variant.encoder_options(format_), **carried}
    if format_ is Format.PNG:
        options["compress_level"] = 6
    if format_ is Format.AVIF:
        options["max_threads"] = 1  # the pool is as wide as the machine already
    if format_ in (Format.WEBP, Format.AVIF) and image.mode in ("L", "LA"):
        image = image.convert("RGB" if image.mode == "L" else "RGBA")
    encoded = io.BytesIO()
    try:
        image.save(encoded, format_.value, **options)
    except (OSError, ValueError, RuntimeError) as error:
        raise PermanentError(
            FailureCode.ENCODE_FAILED, f"The variant '{variant.name}' could not be encoded as {format_.upper()}."
        ) from error
    size = _write(path, encoded)
    return Render(variant.name, format_.value, extension(variant, source_format), *image.size, size)


def _write(path: str, encoded: io.BytesIO) -> int:
    try:
        with open(path, "wb") as file:
            file.write(encoded.getbuffer())
        return encoded.tell()
    except OSError as error:
        if error.errno in (ENOSPC, EDQUOT, EFBIG):
            raise TransientError(FailureCode.STORE_FULL, "The disk with the working folder is full.") from error
        raise TransientError(
            FailureCode.STORE_UNAVAILABLE, "A render could not be written to the working folder."
        ) from error

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image, ImageCms

from processor_svc.render import render
from tests.unit.processor.pictures import (
    BLUE,
    GREEN,
    RED,
    WHITE,
    YELLOW,
    corners,
    encoded,
    job_for,
    near,
    photo,
    pixel,
    psnr,
    quadrants,
    rendered,
)

SMALL: dict[str, object] = {"width": 32, "height": 32, "format": "png"}

TURNED = {
    1: lambda image: image,
    2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
    4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
    7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
}
"""How a camera held so stores what is meant to be seen."""


def oriented(image: Image.Image, orientation: int, format_: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(TURNED[orientation](image), format_, exif=exif)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", TURNED)
def test_a_picture_is_turned_upright(format_: str, orientation: int, tmp_path: Path) -> None:
    data = oriented(quadrants(), orientation, format_)

    result, (image,) = rendered(tmp_path, data, format_.lower(), SMALL)

    assert (result.source.width, result.source.height) == (64, 48)
    assert image.size == (32, 24)
    for found, wanted in zip(corners(image), [RED, GREEN, BLUE, YELLOW], strict=True):
        assert near(found, wanted, 24)
    assert image.getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize("orientation", TURNED)
def test_a_picture_of_odd_size_keeps_its_edges_when_decoded_reduced_and_turned(
    orientation: int, tmp_path: Path
) -> None:
    scene = photo(1019, 765)
    data = oriented(scene, orientation, "JPEG")

    _, (image,) = rendered(tmp_path, data, "jpeg", {"width": 120, "height": 120, "format": "png"})

    assert psnr(image, scene.resize((120, 90), Image.Resampling.LANCZOS)) > 36


def test_a_dataset_render_is_as_good_as_resampling_from_full_size(tmp_path: Path) -> None:
    scene = photo(1280, 960)
    data = encoded(scene, "JPEG", quality=85, subsampling=2)

    _, (jpeg, png) = rendered(
        tmp_path,
        data,
        "jpeg",
        {"width": 256, "height": 256, "format": "jpeg"},
        {"width": 256, "height": 256, "format": "png"},
    )

    reference = scene.resize((256, 192), Image.Resampling.LANCZOS)
    best = Image.open(io.BytesIO(encoded(reference, "JPEG", quality=85, subsampling=2)))
    assert jpeg.size == (256, 192)
    assert psnr(jpeg, reference) > psnr(best, reference) - 0.5
    assert psnr(png, reference) > 36


def test_every_size_of_the_chain_is_as_good_as_its_own_resampling(tmp_path: Path) -> None:
    scene = photo(1280, 960)
    sizes = [(1200, 900), (600, 450), (150, 113), (97, 73)]

    _, images = rendered(
        tmp_path,
        encoded(scene, "PNG"),
        "png",
        *({"width": width, "height": width, "format": "png"} for width, _ in sizes),
    )

    for image, size in zip(images, sizes, strict=True):
        assert image.size == size
        assert psnr(image, scene.resize(size, Image.Resampling.LANCZOS)) > 38


@pytest.mark.parametrize(
    ("variant", "background"),
    [
        ({**SMALL, "format": "jpeg"}, WHITE),
        ({**SMALL, "format": "jpeg", "background": "#0000ff"}, BLUE),
        ({**SMALL, "format": "png", "background": "lime"}, GREEN),
    ],
)
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_composited_on_the_background(
    mode: str, variant: dict[str, object], background: tuple[int, ...], tmp_path: Path
) -> None:
    source = Image.new("RGBA", (64, 64), (40, 40, 40, 255))
    source.paste((0, 0, 0, 0), (32, 0, 64, 64))
    data = encoded(source.quantize(8) if mode == "P" else source.convert(mode), "PNG")

    _, (image,) = rendered(tmp_path, data, "png", variant)

    assert image.mode == "RGB"
    assert near(pixel(image, 4, 16), (40, 40, 40), 8)
    assert near(pixel(image, 28, 16), background, 8)


@pytest.mark.parametrize("format_", ["webp", "png", "avif"])
def test_transparency_is_kept_where_the_format_can_hold_it(format_: str, tmp_path: Path) -> None:
    source = Image.new("RGBA", (64, 64), (200, 30, 30, 128))
    source.paste((0, 0, 0, 0), (32, 0, 64, 64))

    _, (image,) = rendered(tmp_path, encoded(source, "PNG"), "png", {**SMALL, "format": format_})

    assert image.mode == "RGBA"
    assert near(pixel(image, 4, 16), (200, 30, 30, 128), 10)
    assert pixel(image, 28, 16)[3] < 6


def test_the_hidden_colour_of_transparent_pixels_does_not_bleed(tmp_path: Path) -> None:
    source = Image.new("RGBA", (64, 64), (0, 255, 0, 0))
    source.paste((255, 0, 0, 255), (0, 0, 31, 64))

    _, (image,) = rendered(tmp_path, encoded(source, "PNG"), "png", {**SMALL, "width": 16, "height": 16})

    for x in range(16):
        red, green, _, alpha = pixel(image, x, 8)
        assert alpha < 8 or red > 4 * green


def test_alpha_that_hides_nothing_is_dropped(tmp_path: Path) -> None:
    data = encoded(quadrants().convert("RGBA"), "PNG")

    result, (image,) = rendered(tmp_path, data, "png", SMALL)

    assert (result.source.mode, image.mode) == ("RGBA", "RGB")


def test_a_palette_gif_keeps_its_colours_and_its_first_frame(tmp_path: Path) -> None:
    frames = [quadrants(), Image.new("RGB", (64, 48), WHITE)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])

    result, (image,) = rendered(tmp_path, data, "gif", {**SMALL, "format": "source"})

    assert corners(image) == [RED, GREEN, BLUE, YELLOW]
    assert (result.source.frames, result.renders[0].extension) == (2, "png")
    assert "first of 2 frames" in result.warnings[0]


def test_cmyk_is_seen_in_its_colours(tmp_path: Path) -> None:
    data = encoded(quadrants().convert("CMYK"), "JPEG")

    result, (image,) = rendered(tmp_path, data, "jpeg", SMALL)

    assert (result.source.mode, image.mode) == ("CMYK", "RGB")
    for found, wanted in zip(corners(image), [RED, GREEN, BLUE, YELLOW], strict=True):
        assert near(found, wanted, 12)


@pytest.mark.parametrize("format_", ["jpeg", "webp", "png", "avif"])
def test_grey_stays_grey(format_: str, tmp_path: Path) -> None:
    data = encoded(Image.new("L", (64, 64), 90), "JPEG")

    _, (image,) = rendered(tmp_path, data, "jpeg", {**SMALL, "format": format_})

    assert near(pixel(image.convert("RGB"), 10, 10), (90, 90, 90), 4)
    assert (image.mode == "L") == (format_ in ("jpeg", "png"))


@pytest.mark.parametrize(("mode", "container"), [("I;16", "PNG"), ("I;16", "TIFF"), ("I", "TIFF"), ("F", "TIFF")])
def test_more_than_eight_bits_of_grey_are_scaled_not_cut(mode: str, container: str, tmp_path: Path) -> None:
    wide = Image.new(mode, (64, 64), 0.5 if mode == "F" else 32768)
    wide.paste(1.0 if mode == "F" else 65535, (0, 0, 32, 64))

    _, (image,) = rendered(tmp_path, encoded(wide, container), container.lower(), SMALL)

    assert image.mode == "L"
    assert near(pixel(image, 4, 16), (255,), 1)
    assert near(pixel(image, 28, 16), (128,), 2)


def test_one_bit_pictures_become_grey(tmp_path: Path) -> None:
    data = encoded(Image.new("1", (64, 64), 1), "PNG")

    _, (image,) = rendered(tmp_path, data, "png", SMALL)

    assert pixel(image, 8, 8) == (255,)


def test_cover_fills_the_box_from_the_middle(tmp_path: Path) -> None:
    source = Image.new("RGB", (90, 30), RED)
    source.paste(BLUE, (30, 0, 60, 30))

    _, (image,) = rendered(
        tmp_path, encoded(source, "PNG"), "png", {"mode": "cover", "width": 20, "height": 20, "format": "png"}
    )

    assert image.size == (20, 20)
    assert near(pixel(image, 3, 10), BLUE)
    assert near(pixel(image, 16, 10), BLUE)


def test_pad_centres_the_picture_on_the_background(tmp_path: Path) -> None:
    _, (image, clear) = rendered(
        tmp_path,
        encoded(Image.new("RGB", (80, 40), RED), "PNG"),
        "png",
        {"mode": "pad", "width": 40, "height": 40, "format": "png", "background": "navy"},
        {"mode": "pad", "width": 40, "height": 40, "format": "png"},
    )

    assert image.size == clear.size == (40, 40)
    assert (pixel(image, 20, 9), pixel(image, 20, 10)) == ((0, 0, 128), RED)
    assert (pixel(image, 20, 29), pixel(image, 20, 30)) == (RED, (0, 0, 128))
    assert pixel(clear, 20, 0) == WHITE


def test_pad_leaves_the_margins_of_a_transparent_picture_transparent(tmp_path: Path) -> None:
    source = Image.new("RGBA", (80, 40), (255, 0, 0, 128))

    _, (image,) = rendered(
        tmp_path, encoded(source, "PNG"), "png", {"mode": "pad", "width": 40, "height": 40, "format": "webp"}
    )

    assert pixel(image, 20, 2)[3] == 0
    assert near(pixel(image, 20, 20), (255, 0, 0, 128), 8)


def test_stretch_ignores_the_aspect(tmp_path: Path) -> None:
    _, (image,) = rendered(
        tmp_path, encoded(quadrants(), "PNG"), "png", {"mode": "stretch", "width": 40, "height": 10, "format": "png"}
    )

    assert image.size == (40, 10)
    assert all(near(found, wanted) for found, wanted in zip(corners(image), [RED, GREEN, BLUE, YELLOW], strict=True))


def test_scale_halves_both_sides_in_the_format_of_the_source(tmp_path: Path) -> None:
    result, (image,) = rendered(
        tmp_path, encoded(quadrants(), "WEBP", lossless=True), "webp", {"scale": 0.5, "format": "source"}
    )

    assert (image.size, image.format, result.renders[0].extension) == ((32, 24), "WEBP", "webp")


def test_small_pictures_are_enlarged_only_when_asked(tmp_path: Path) -> None:
    _, (kept, enlarged) = rendered(
        tmp_path,
        encoded(quadrants(), "JPEG"),
        "jpeg",
        {"width": 640, "height": 640},
        {"width": 128, "height": 128, "upscale": True},
    )

    assert (kept.size, enlarged.size) == ((64, 48), (128, 96))


def test_a_profile_that_is_not_srgb_is_converted(tmp_path: Path) -> None:
    swapped = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    linear = _linear_profile()
    grey = Image.new("RGB", (64, 64), (128, 128, 128))

    _, (converted,) = rendered(tmp_path, encoded(grey, "PNG", icc_profile=linear), "png", SMALL)
    _, (ignored,) = rendered(tmp_path, encoded(grey, "PNG", icc_profile=swapped), "png", SMALL)

    assert near(pixel(converted, 8, 8), (188, 188, 188), 3)  # 0.5 of the light, by sRGB's curve
    assert pixel(ignored, 8, 8) == (128, 128, 128)
    assert "icc_profile" not in converted.info


def _linear_profile() -> bytes:
    """sRGB's own profile with its tone curves replaced by a gamma of 1 and another name."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(profile[128:132], "big")
    for index in range(count):
        entry = 132 + 12 * index
        signature = bytes(profile[entry : entry + 4])
        offset = int.from_bytes(profile[entry + 4 : entry + 8], "big")
        size = int.from_bytes(profile[entry + 8 : entry + 12], "big")
        if signature in (b"rTRC", b"gTRC", b"bTRC"):
            profile[offset : offset + 12] = b"curv" + bytes(8)  # no entries: the identity
            profile[entry + 8 : entry + 12] = (12).to_bytes(4, "big")
        if signature == b"desc":
            profile[offset : offset + size] = bytes(profile[offset : offset + size]).replace(
                b"s\0R\0G\0B", b"l\0i\0n\0e"
            )
    return bytes(profile)


def test_metadata_is_stripped_by_default_and_kept_without_places_and_serials_when_asked(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    exif.get_ifd(0x8769).update({0x9003: "2024:05:06 07:08:09", 0xA431: "SERIAL-1", 0x927C: b"notes"})
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 8.0, 0.0)})
    data = encoded(quadrants(), "JPEG", exif=exif, comment=b"a comment")

    for format_ in ("jpeg", "webp", "png", "avif"):
        result, (stripped,) = rendered(tmp_path, data, "jpeg", {**SMALL, "format": format_})
        assert len(stripped.getexif()) == 0
        assert "comment" not in stripped.info
        _, (kept,) = rendered(tmp_path, data, "jpeg", {**SMALL, "format": format_}, metadata="keep")
        found = kept.getexif()
        assert found[0x010F] == "Maker"
        assert found.get(0x0112, 1) == 1
        assert found.get_ifd(0x8769) == {0x9003: "2024:05:06 07:08:09"}
        assert not found.get_ifd(0x8825)
        assert kept.size == (24, 32)

    assert result.source.exif == {"Make": "Maker", "Orientation": "6", "DateTimeOriginal": "2024:05:06 07:08:09"}


def test_the_same_bytes_and_recipe_give_the_same_renders(tmp_path: Path) -> None:
    data = encoded(photo(300, 200), "JPEG")
    variants: list[dict[str, object]] = [
        {"width": 100, "format": format_} for format_ in ("jpeg", "webp", "png", "avif")
    ]

    made = []
    for _ in range(2):
        result, _ = rendered(tmp_path, data, "jpeg", *variants)
        made.append([(tmp_path / f"out-{each.name}").read_bytes() for each in result.renders])

    assert made[0] == made[1]


def test_only_the_first_bytes_of_a_reused_file_are_the_picture(tmp_path: Path) -> None:
    job = job_for(tmp_path, encoded(quadrants(), "JPEG"), "jpeg", SMALL)
    with open(job.path, "ab") as file:
        file.write(encoded(Image.new("RGB", (640, 480)), "PNG"))

    assert render(job).source.width == 64


def test_a_format_other_than_the_first_bytes_promised_is_remarked(tmp_path: Path) -> None:
    result, _ = rendered(tmp_path, encoded(quadrants(), "PNG"), "jpeg", SMALL)

    assert result.source.format == "png"
    assert result.warnings == ("The first bytes promise JPEG, the content is PNG.",)


def test_the_time_of_every_stage_is_told(tmp_path: Path) -> None:
    result, _ = rendered(tmp_path, encoded(photo(400, 300), "JPEG"), "jpeg", {"width": 300, "format": "webp"})

    assert min(result.timings.decode_ms, result.timings.resize_ms, result.timings.encode_ms) > 0

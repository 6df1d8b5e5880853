"""Colours by their profile: what they are in sRGB is computed here, from the definitions of the colour spaces."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image, ImageCms

from processor_svc.profiles import UNUSABLE
from tests.unit.processor.handmade import chunk, icc, icc_gamma, icc_inks, icc_xyz, png
from tests.unit.processor.pictures import Colour, encoded, near, pixel, rendered
from tests.unit.processor.test_pictures_tiff_bmp_avif import AVIF_10_BIT

SMALL: dict[str, object] = {"width": 16, "format": "png"}
Primaries = Sequence[tuple[float, float]]

SRGB: Primaries = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
DISPLAY_P3: Primaries = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE_RGB: Primaries = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
BT_2020: Primaries = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
D65 = (0.3127 / 0.3290, 1.0, 0.3583 / 0.3290)
BRADFORD_TO_D50 = ((1.04788, 0.02292, -0.05022), (0.02959, 0.99048, -0.01708), (-0.00925, 0.01507, 0.75168))

COLOURS: list[Colour] = [(200, 100, 50), (60, 120, 60), (128, 128, 128), (90, 60, 160), (255, 255, 255)]


def times(matrix: Sequence[Sequence[float]], vector: Sequence[float]) -> list[float]:
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def inverse(m: Sequence[Sequence[float]]) -> list[list[float]]:
    def minor(row: int, column: int) -> float:
        a, b = [i for i in range(3) if i != row]
        c, d = [i for i in range(3) if i != column]
        return (m[a][c] * m[b][d] - m[a][d] * m[b][c]) * (-1.0 if (row + column) % 2 else 1.0)

    determinant = sum(m[0][column] * minor(0, column) for column in range(3))
    return [[minor(column, row) / determinant for column in range(3)] for row in range(3)]


def to_xyz(primaries: Primaries) -> list[list[float]]:
    """The matrix from linear RGB to XYZ under D65 (SMPTE RP 177)."""
    unscaled = [[x / y for x, y in primaries], [1.0] * 3, [(1 - x - y) / y for x, y in primaries]]
    scales = times(inverse(unscaled), D65)
    return [[value * scale for value, scale in zip(row, scales, strict=True)] for row in unscaled]


def srgb_light(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else math.pow((value + 0.055) / 1.055, 2.4)


def srgb_value(light: float) -> int:
    light = min(1.0, max(0.0, light))
    return round(255 * (12.92 * light if light <= 0.0031308 else 1.055 * math.pow(light, 1 / 2.4) - 0.055))


def in_srgb(colour: Colour, primaries: Primaries, light_of: Callable[[float], float]) -> Colour:
    xyz = times(to_xyz(primaries), [light_of(value / 255) for value in colour])
    return tuple(srgb_value(light) for light in times(inverse(to_xyz(SRGB)), xyz))


def rgb_profile(primaries: Primaries, curve: bytes) -> bytes:
    columns = zip(*(to_xyz(primaries)), strict=True)
    adapted = [icc_xyz(*times(BRADFORD_TO_D50, column)) for column in columns]
    values = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), adapted, strict=True))
    return icc(b"RGB ", values | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def gamma_2_2(value: float) -> float:
    return math.pow(value, 563 / 256)


P3 = rgb_profile(DISPLAY_P3, icc_gamma(563 / 256))
ADOBE = rgb_profile(ADOBE_RGB, icc_gamma(563 / 256))
LINEAR = rgb_profile(SRGB, b"curv\0\0\0\0\0\0\0\0")


def shown(folder: Path, data: bytes, format_: str) -> tuple[Colour, tuple[str, ...]]:
    result, (image,) = rendered(folder, data, format_, SMALL)
    assert "icc_profile" not in image.info
    return pixel(image.convert("RGB"), 8, 8), result.warnings


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("container", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize(("profile", "primaries"), [(P3, DISPLAY_P3), (ADOBE, ADOBE_RGB)], ids=["P3", "Adobe RGB"])
def test_a_wide_gamut_is_not_turned_pale(
    profile: bytes, primaries: Primaries, container: str, colour: Colour, tmp_path: Path
) -> None:
    options: dict[str, object] = {"lossless": True} if container == "WEBP" else {"quality": 98}
    if container == "AVIF":
        options["subsampling"] = "4:4:4"
    data = encoded(Image.new("RGB", (32, 32), colour), container, icc_profile=profile, **options)

    found, remarks = shown(tmp_path, data, container.lower())

    assert near(found, in_srgb(colour, primaries, gamma_2_2), 2 if container in ("PNG", "TIFF", "WEBP") else 12)
    assert remarks == ()


def test_alpha_stays_what_it_was(tmp_path: Path) -> None:
    data = encoded(Image.new("RGBA", (32, 32), (200, 100, 50, 77)), "PNG", icc_profile=P3)

    _, (image,) = rendered(tmp_path, data, "png", SMALL)

    wanted = in_srgb((200, 100, 50), DISPLAY_P3, gamma_2_2)
    assert near(pixel(image, 8, 8), (*wanted, 77), 3)


@pytest.mark.parametrize(("number", "primaries"), [(12, DISPLAY_P3), (9, BT_2020)])
def test_the_code_points_of_avif_say_how_wide_its_gamut_is(number: int, primaries: Primaries, tmp_path: Path) -> None:
    data = AVIF_10_BIT.replace(b"colrnclx\0\2\0\2", b"colrnclx\0" + bytes([number]) + b"\0\x0d")

    _, (image,) = rendered(tmp_path, data, "avif", SMALL)

    colour = tuple(round(value * 255 / 1023) for value in (400, 612, 800))
    assert near(pixel(image.convert("RGB"), 12, 12), in_srgb(colour, primaries, srgb_light), 2)


@pytest.mark.parametrize(("number", "primaries"), [(1, SRGB), (12, DISPLAY_P3), (9, BT_2020)])
def test_the_code_points_of_png_say_how_wide_its_gamut_is(number: int, primaries: Primaries, tmp_path: Path) -> None:
    points = chunk(b"cICP", bytes([number, 13, 0, 1]))

    found, _ = shown(tmp_path, png((32, 32), 8, 2, lambda x, y: (200, 100, 50), before=points), "png")

    assert near(found, in_srgb((200, 100, 50), primaries, srgb_light), 2)


@pytest.mark.parametrize(("index", "primaries"), [("R03", ADOBE_RGB), ("R98", None)])
def test_a_camera_says_adobe_rgb_without_a_profile(index: str, primaries: Primaries | None, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 0xFFFF
    exif.get_ifd(0x8769)[0xA005] = {1: index, 2: b"0100"}
    data = encoded(Image.new("RGB", (32, 32), (60, 120, 60)), "JPEG", quality=98, exif=exif)

    found, _ = shown(tmp_path, data, "jpeg")

    assert near(found, in_srgb((60, 120, 60), primaries, gamma_2_2) if primaries else (60, 120, 60), 4)


def test_a_profile_is_judged_by_what_it_does_and_not_by_its_name(tmp_path: Path) -> None:
    named = LINEAR.replace(b"test\0", b"sRGB\0")

    found, _ = shown(tmp_path, encoded(Image.new("RGB", (32, 32), (128, 128, 128)), "PNG", icc_profile=named), "png")

    assert near(found, (srgb_value(128 / 255),) * 3, 2)


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
@pytest.mark.parametrize("space", ["grey", "RGB"])
def test_grey_with_a_profile_is_shown_as_bright_as_it_is_meant(space: str, mode: str, tmp_path: Path) -> None:
    profile = LINEAR if space == "RGB" else icc(b"GRAY", {b"kTRC": b"curv\0\0\0\0\0\0\0\0"})
    value: int | Colour = (64, 100) if mode == "LA" else 64 * 257 if mode == "I;16" else 64
    data = encoded(Image.new(mode, (32, 32), value), "PNG", icc_profile=profile)

    result, (image,) = rendered(tmp_path, data, "png", SMALL)

    assert result.warnings == ()
    assert image.mode == ("LA" if mode == "LA" else "L")
    wanted = srgb_value(64 / 255)
    assert near(pixel(image, 8, 8), (wanted, 100) if mode == "LA" else (wanted,), 2)


def neutral(inks: Sequence[int]) -> tuple[float, float, float]:
    """Paper of full light; black leaves nothing of it, any other ink the half, and no colour."""
    return (0.0 if inks[3] else 50.0 if any(inks) else 100.0, 0.0, 0.0)


INKS = icc(b"CMYK", {b"A2B0": icc_inks(neutral)}, kind=b"prtr", connection=b"Lab ")


@pytest.mark.parametrize("container", ["JPEG", "TIFF"])
def test_inks_are_shown_as_their_profile_says(container: str, tmp_path: Path) -> None:
    cyan, paper = ((255, 0, 0, 0), (119, 119, 119)), ((0, 0, 0, 0), (255, 255, 255))  # L* of 50 is 18.4 % of the light

    for inks, wanted in (cyan, paper):
        data = encoded(Image.new("CMYK", (32, 32), inks), container, icc_profile=INKS)
        found, remarks = shown(tmp_path, data, container.lower())
        assert near(found, wanted, 3)
        assert remarks == ()


@pytest.mark.parametrize(
    ("mode", "profile"),
    [
        ("RGB", b"no profile at all"),
        ("RGB", P3[:200]),
        ("RGB", INKS),
        ("RGB", icc(b"GRAY", {b"kTRC": icc_gamma(2.0)})),
        ("RGB", ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()),
        ("CMYK", P3),
        ("L", INKS),
        ("RGB", P3 + bytes(5 << 20)),
    ],
    ids=["words", "cut", "of inks", "of grey", "of Lab", "of light for inks", "of inks for grey", "without end"],
)
@pytest.mark.parametrize("keep", ["convert", "keep"])
def test_a_profile_that_cannot_be_used_is_ignored_with_a_warning(
    mode: str, profile: bytes, keep: str, tmp_path: Path
) -> None:
    value: int | Colour = 100 if mode == "L" else (200, 100, 50) if mode == "RGB" else (0, 0, 0, 155)
    data = encoded(Image.new(mode, (32, 32), value), "TIFF", icc_profile=profile)

    result, (image,) = rendered(tmp_path, data, "tiff", SMALL, color_profile=keep)

    assert pixel(image.convert("RGB"), 8, 8) == ((200, 100, 50) if mode == "RGB" else (100, 100, 100))
    assert result.warnings == (UNUSABLE,)
    assert "icc_profile" not in image.info


@pytest.mark.parametrize("format_", ["png", "jpeg", "webp", "avif"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_kept_profile_goes_with_unchanged_colours(mode: str, format_: str, tmp_path: Path) -> None:
    source = Image.new(mode, (32, 32), (200, 100, 50) if mode == "RGB" else (200, 100, 50, 128))
    data = encoded(source, "PNG", icc_profile=P3)

    _, (image,) = rendered(
        tmp_path, data, "png", {"width": 16, "format": format_, "background": "#c86432"}, color_profile="keep"
    )

    assert near(pixel(image.convert("RGB"), 8, 8), (200, 100, 50), 4)
    assert image.info["icc_profile"] == P3


def test_the_profile_that_a_camera_implies_is_kept_as_one(tmp_path: Path) -> None:
    data = AVIF_10_BIT.replace(b"colrnclx\0\2\0\2", b"colrnclx\0\x0c\0\x0d")

    _, (image,) = rendered(tmp_path, data, "avif", SMALL, color_profile="keep")

    kept = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    assert kept.profile.xcolor_space == "RGB "
    assert kept.profile.red_primary is not None
    assert [round(value, 2) for value in kept.profile.red_primary[1][:2]] == [0.68, 0.32]


@pytest.mark.parametrize(
    ("mode", "value", "profile"),
    [("L", 64, LINEAR), ("L", 64, icc(b"GRAY", {b"kTRC": icc_gamma(1.0)})), ("CMYK", (255, 0, 0, 0), INKS)],
)
def test_what_is_not_rgb_is_converted_even_where_profiles_are_kept(
    mode: str, value: int | Colour, profile: bytes, tmp_path: Path
) -> None:
    data = encoded(Image.new(mode, (32, 32), value), "TIFF", icc_profile=profile)

    _, (kept,) = rendered(tmp_path, data, "tiff", SMALL, color_profile="keep")
    _, (converted,) = rendered(tmp_path, data, "tiff", SMALL)

    assert "icc_profile" not in kept.info
    assert pixel(kept, 8, 8) == pixel(converted, 8, 8)


def test_a_huge_profile_is_not_handed_on_to_small_pictures(tmp_path: Path) -> None:
    huge = icc(
        b"RGB ",
        {
            **{name: icc_xyz(*value) for name, value in zip((b"rXYZ", b"gXYZ", b"bXYZ"), WIDE, strict=True)},
            **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), icc_gamma(2.2)),
            b"junk": b"data" + bytes(2 << 20),
        },
    )
    data = encoded(Image.new("RGB", (32, 32), (200, 100, 50)), "TIFF", icc_profile=huge)

    result, (image,) = rendered(tmp_path, data, "tiff", SMALL, color_profile="keep")

    assert "icc_profile" not in image.info
    assert result.warnings == ()
    assert pixel(image, 8, 8) != (200, 100, 50)


WIDE = ((0.515, 0.241, -0.001), (0.292, 0.692, 0.042), (0.157, 0.067, 0.784))

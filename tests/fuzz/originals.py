"""One small valid file of every kind that a format comes in: what mutations start from."""

from __future__ import annotations

from functools import cache
from typing import Any

from PIL import Image, ImageCms

from tests.unit.processor import handmade
from tests.unit.processor.pictures import encoded, quadrants

FORMATS = ("jpeg", "png", "gif", "webp", "tiff", "bmp", "avif", "ico")
_SIZE = (40, 32)
_ORIENTATION, _MAKE, _GPS = 274, 271, 0x8825


@cache
def originals(format_: str) -> dict[str, bytes]:
    """Give the files of a format by what is special about each."""
    return {
        "jpeg": _jpegs,
        "png": _pngs,
        "gif": _gifs,
        "webp": _webps,
        "tiff": _tiffs,
        "bmp": _bmps,
        "avif": _avifs,
        "ico": _icos,
    }[format_]()


def _picture(mode: str = "RGB") -> Image.Image:
    image = quadrants(*_SIZE).convert("RGBA")
    image.paste((10, 20, 30, 90), (5, 5, 20, 20))
    return image.convert(mode)


def _frames() -> dict[str, Any]:
    turned = [_picture("RGBA").rotate(90 * turns).convert("P") for turns in (1, 2)]
    return {"save_all": True, "append_images": turned, "duration": 40, "loop": 0}


def _profile() -> bytes:
    return bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())


def _exif() -> bytes:
    exif = Image.Exif()
    exif[_ORIENTATION], exif[_MAKE] = 6, "Lumen"
    exif.get_ifd(_GPS).update({1: "N", 2: (1.0, 2.0, 3.0)})
    return exif.tobytes()


def _jpegs() -> dict[str, bytes]:
    return {
        "baseline": encoded(_picture(), "JPEG", subsampling=2),
        "progressive": encoded(_picture(), "JPEG", progressive=True),
        "cmyk": encoded(_picture("CMYK"), "JPEG"),
        "grey": encoded(_picture("L"), "JPEG", optimize=True),
        "restarts": encoded(_picture(), "JPEG", restart_marker_rows=1),
        "notes": encoded(_picture(), "JPEG", exif=_exif(), icc_profile=_profile(), comment=b"a note", xmp=b"<x/>"),
        "many": encoded(_picture(), "MPO", save_all=True, append_images=[_picture()]),
    }


def _pngs() -> dict[str, bytes]:
    palette = bytes(range(12))

    def grey(x: int, y: int) -> tuple[int]:
        return (x * 7 + y * 11 & 0xFF,)

    def index(x: int, y: int) -> tuple[int]:
        return (x + y & 3,)

    return {
        "plain": encoded(_picture(), "PNG"),
        "alpha": encoded(_picture("RGBA"), "PNG"),
        "deep": handmade.png(_SIZE, 16, 0, lambda x, y: (grey(x, y)[0] * 257,)),
        "interlaced": handmade.png(_SIZE, 8, 0, grey, interlaced=True),
        "palette": handmade.png(
            _SIZE, 2, 3, index, before=handmade.chunk(b"PLTE", palette) + handmade.chunk(b"tRNS", b"\0\x80")
        ),
        "bilevel": encoded(_picture("1"), "PNG"),
        "animated": encoded(_picture("RGBA"), "PNG", **_frames()),
        "notes": handmade.png(
            *(_SIZE, 8, 0, grey),
            before=handmade.chunk(b"tEXt", b"Author\0Nobody") + handmade.chunk(b"gAMA", bytes([0, 0, 177, 143])),
            behind=handmade.chunk(b"eXIf", _exif()[6:]) + handmade.chunk(b"iTXt", b"Title\0\0\0\0\0A picture"),
        ),
        "profile": encoded(_picture(), "PNG", icc_profile=_profile(), exif=_exif()),
    }


def _gifs() -> dict[str, bytes]:
    return {
        "still": encoded(_picture("P"), "GIF"),
        "interlaced": encoded(_picture("P"), "GIF", interlace=1),
        "transparent": encoded(_picture("P"), "GIF", transparency=0),
        "animated": encoded(_picture("P"), "GIF", **_frames(), comment=b"a note"),
        "partial": handmade.gif(_SIZE, [((8, 8, 20, 16), 1), ((0, 0, *_SIZE), 2)], transparent=1),
    }


def _webps() -> dict[str, bytes]:
    return {
        "lossy": encoded(_picture(), "WEBP"),
        "lossless": encoded(_picture("RGBA"), "WEBP", lossless=True),
        "alpha": encoded(_picture("RGBA"), "WEBP"),
        "animated": encoded(_picture("RGBA"), "WEBP", **_frames()),
        "notes": encoded(_picture(), "WEBP", exif=_exif(), icc_profile=_profile(), xmp=b"<x/>"),
    }


def _tiffs() -> dict[str, bytes]:
    packings = ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "jpeg")
    return {
        **{packing: encoded(_picture(), "TIFF", compression=packing) for packing in packings},
        "fax": encoded(_picture("1"), "TIFF", compression="group4"),
        "alpha": encoded(_picture("RGBA"), "TIFF", compression="tiff_lzw"),
        "palette": encoded(_picture("P"), "TIFF"),
        "inks": encoded(_picture("CMYK"), "TIFF", icc_profile=_profile()),
        "deep": encoded(Image.new("I;16", _SIZE, 30_000), "TIFF", compression="tiff_adobe_deflate"),
        "float": encoded(Image.new("F", _SIZE, 0.5), "TIFF"),
        "pages": encoded(_picture(), "TIFF", save_all=True, append_images=[_picture("L")]),
    }


def _bmps() -> dict[str, bytes]:
    runs = b"".join(b"\x28" + bytes([row & 3]) + b"\0\0" for row in range(_SIZE[1])) + b"\0\1"
    return {
        "plain": encoded(_picture(), "BMP"),
        "palette": encoded(_picture("P"), "BMP"),
        "bilevel": encoded(_picture("1"), "BMP"),
        "alpha": encoded(_picture("RGBA"), "BMP"),
        "runs": handmade.bmp(_SIZE, 8, runs, palette=bytes(range(16)), compression=1),
        "masks": handmade.bmp(_SIZE, 16, bytes(2 * _SIZE[0] * _SIZE[1]), masks=(0xF800, 0x7E0, 0x1F)),
        "old": handmade.bmp(_SIZE, 8, bytes(_SIZE[0] * _SIZE[1]), palette=bytes(16), header=12),
    }


def _avifs() -> dict[str, bytes]:
    return {
        "still": encoded(_picture(), "AVIF", speed=10),
        "alpha": encoded(_picture("RGBA"), "AVIF", speed=10),
        "animated": encoded(_picture(), "AVIF", speed=10, save_all=True, append_images=[_picture()]),
        "notes": encoded(_picture(), "AVIF", speed=10, exif=_exif(), icc_profile=_profile()),
    }


def _icos() -> dict[str, bytes]:
    sizes = {"sizes": [(16, 16), (32, 32)]}
    return {
        "png": encoded(_picture("RGBA").resize((32, 32)), "ICO", **sizes),
        "bmp": encoded(_picture("RGBA").resize((32, 32)), "ICO", bitmap_format="bmp", **sizes),
        "palette": encoded(_picture("P").resize((32, 32)), "ICO", bitmap_format="bmp", **sizes),
    }

"""Picture files put together byte by byte, as the formats' specifications say: no encoder stands between them and the
values that a test expects."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Sequence

Samples = Sequence[int]
PixelOf = Callable[[int, int], Samples]

_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Left, top, step right, step down of the seven passes (PNG specification, section 8.2)."""


def bits_of(rows: Iterable[Samples], bits: int) -> bytes:
    """Pack rows of samples, most significant bit first, each row ending at a byte."""
    packed = b""
    for row in rows:
        line = "".join(format(sample, f"0{bits}b") for sample in row)
        line += "0" * (-len(line) % 8)
        packed += int(line, 2).to_bytes(len(line) // 8, "big")
    return packed


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    size: tuple[int, int],
    bits: int,
    colour_type: int,
    pixel: PixelOf,
    *,
    interlaced: bool = False,
    before: bytes = b"",
    behind: bytes = b"",
) -> bytes:
    """A PNG; `pixel` gives the samples of a place, `before` and `behind` are chunks around the pixels."""
    width, height = size
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    raw = b""
    for left, top, right, down in passes:
        for y in range(top, height, down):
            row = [sample for x in range(left, width, right) for sample in pixel(x, y)]
            raw += b"\0" + bits_of([row], bits) if row else b""
    head = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, int(interlaced))
    pixels = chunk(b"IDAT", zlib.compress(raw))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + before + pixels + behind + chunk(b"IEND", b"")


def bmp(
    size: tuple[int, int],
    bits: int,
    rows: bytes,
    *,
    palette: bytes = b"",
    masks: Sequence[int] = (),
    header: int = 40,
    compression: int | None = None,
    top_down: bool = False,
) -> bytes:
    """A BMP of rows from the bottom up, each already filled to four bytes; the palette's colours are B, G, R, 0.

    `masks` of the bands make it BITFIELDS; `header` is 12, 40 or 108 bytes long.
    """
    if compression is None:
        compression = 3 if masks else 0
    height = -size[1] if top_down else size[1]
    if header == 12:
        info = struct.pack("<IHHHH", 12, size[0], height, 1, bits)
        palette = b"".join(palette[at : at + 3] for at in range(0, len(palette), 4))
    else:
        info = struct.pack(
            "<IiiHHIIiiII", header, size[0], height, 1, bits, compression, len(rows), 2835, 2835, len(palette) // 4, 0
        )
        info += struct.pack(f"<{len(masks)}I", *masks)
        info += bytes(max(0, header - len(info)))
    start = 14 + len(info) + len(palette)
    head: bytes = b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start)
    return head + info + palette + rows


def tiff(order: str, tags: dict[int, tuple[int, Sequence[int]]], strip: bytes) -> bytes:
    """A TIFF of one uncompressed strip; `order` is `<` or `>`, `tags` are type and values by number (TIFF 6.0, 2)."""
    tags = {**tags, 273: (4, [8]), 279: (4, [len(strip)])}
    formats = {3: "H", 4: "I"}
    body = strip + bytes(len(strip) % 2)
    entries, behind = b"", b""
    start = 8 + len(body) + 2 + 12 * len(tags) + 4
    for number in sorted(tags):
        kind, values = tags[number]
        content = struct.pack(f"{order}{len(values)}{formats[kind]}", *values)
        if len(content) > 4:
            content, behind = struct.pack(f"{order}I", start + len(behind)), behind + content
        entries += struct.pack(f"{order}HHI", number, kind, len(values)) + content.ljust(4, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(body))
    return head + body + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + behind


def tiff_tags(size: tuple[int, int], bits: Sequence[int], photometric: int) -> dict[int, tuple[int, Sequence[int]]]:
    """The tags that every TIFF has: size, depth, no compression, what the samples mean, one strip."""
    return {
        256: (4, [size[0]]),
        257: (4, [size[1]]),
        258: (3, bits),
        259: (3, [1]),
        262: (3, [photometric]),
        277: (3, [len(bits)]),
        278: (4, [size[1]]),
    }


def gif(
    screen: tuple[int, int],
    frames: Sequence[tuple[tuple[int, int, int, int], int]],
    *,
    transparent: int | None = None,
    background: int = 0,
    palette: bytes = bytes([0, 0, 255, 255, 0, 0, 0, 255, 0, 255, 255, 0]),
) -> bytes:
    """A GIF of plain frames, each a place (left, top, width, height) and the number of its colour among four."""
    data = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x81, background, 0) + palette
    for place, colour in frames:
        if transparent is not None:
            data += b"\x21\xf9\x04\x01\x00\x00" + bytes([transparent, 0])
        data += b"," + struct.pack("<HHHHB", *place, 0) + b"\2" + _blocks(_uncompressed(place[2] * place[3], colour))
    return data + b";"


def _uncompressed(pixels: int, colour: int) -> bytes:
    """Codes of three bits, the table cleared so often that they never grow (GIF89a, appendix F)."""
    codes = [code for number in range(pixels) for code in ((4, colour) if number % 2 == 0 else (colour,))] + [5]
    bits = "".join(format(code, "03b") for code in reversed(codes))
    return int(bits, 2).to_bytes((len(bits) + 7) // 8, "little")


def _blocks(data: bytes) -> bytes:
    pieces = [data[at : at + 255] for at in range(0, len(data), 255)]
    return b"".join(bytes([len(piece)]) + piece for piece in pieces) + b"\0"


def webp_canvas(width: int, height: int, frames: int = 0) -> bytes:
    """An extended WebP of this canvas that holds no pixels (RFC 9649)."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"VP8X" + struct.pack("<I", 10) + bytes([2 if frames else 0, 0, 0, 0]) + size
    body += (b"ANIM" + struct.pack("<IIH", 6, 0, 0)) if frames else b""
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def icc(space: bytes, tags: dict[bytes, bytes], *, kind: bytes = b"mntr", connection: bytes = b"XYZ ") -> bytes:
    """An ICC profile (ICC.1:2001-04, section 6) of a colour space such as `RGB `."""
    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78), b"wtpt": icc_xyz(*D50), **tags}
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I", start + len(body)) + bytes(4) + b"\2\x40\0\0" + kind + space + connection + bytes(12)
    head += b"acsp" + bytes(28) + icc_xyz(*D50)[8:]
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


D50 = (0.9642, 1.0, 0.8249)


def icc_xyz(*value: float) -> bytes:
    """A tag of one XYZ value."""
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(part * 65536) for part in value))


def icc_gamma(gamma: float) -> bytes:
    """A tag of a curve that is a power."""
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def icc_inks(lab_of: Callable[[Samples], tuple[float, float, float]]) -> bytes:
    """A tag that tells the L*a*b* of CMYK, by its sixteen corners (lut8Type, section 6.5.8)."""
    corners = [[number >> bit & 1 for bit in (3, 2, 1, 0)] for number in range(16)]
    identity = bytes(range(256))
    head = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0])
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = b""
    for corner in corners:
        light, green_red, blue_yellow = lab_of(corner)
        table += bytes([round(light * 2.55), round(green_red + 128), round(blue_yellow + 128)])
    return head + matrix + identity * 4 + table + identity * 3

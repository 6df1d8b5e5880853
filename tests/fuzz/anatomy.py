"""Where a valid file keeps its parts, their lengths and its dimensions: what a blind mutation seldom hits."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

BIG, LITTLE = "big", "little"
_TIFF_ENTRY, _ICO_ENTRY = 12, 16
_BOXES = re.compile(rb"ftyp|meta|hdlr|pitm|iloc|iinf|infe|iprp|ipco|ipma|ispe|pixi|av1C|colr|mdat|moov|trak|stsz|auxC")


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number within a file."""

    at: int
    width: int
    order: str


@dataclass(slots=True)
class Anatomy:
    """The parts of a file, by where each begins, and its telling numbers."""

    cuts: list[int] = field(default_factory=lambda: [0])
    numbers: list[Number] = field(default_factory=list)
    """Lengths, offsets, counts, dimensions and depths."""

    def add(self, at: int, width: int, order: str) -> None:
        self.numbers.append(Number(at, width, order))


def anatomy_of(data: bytes, format_: str) -> Anatomy:
    """Take a valid file of that format apart."""
    anatomy = Anatomy()
    _WALKS[format_](data, anatomy)
    anatomy.cuts.append(len(data))
    return anatomy


def _jpeg(data: bytes, anatomy: Anatomy) -> None:
    at = 2
    while data[at + 1] not in (0xDA, 0xD9):
        anatomy.cuts.append(at)
        anatomy.add(at + 2, 2, BIG)
        if data[at + 1] in (0xC0, 0xC2):  # start of frame: depth, height, width, components
            for offset, width in ((4, 1), (5, 2), (7, 2), (9, 1), (11, 1)):
                anatomy.add(at + offset, width, BIG)
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    anatomy.cuts += [at, len(data) - 2]
    anatomy.add(at + 2, 2, BIG)


def _png(data: bytes, anatomy: Anatomy) -> None:
    at = 8
    while at < len(data):
        anatomy.cuts.append(at)
        anatomy.add(at, 4, BIG)
        kind = data[at + 4 : at + 8]
        if kind in (b"IHDR", b"fcTL"):  # in a frame's, the first number is its place in the order
            anatomy.numbers += [Number(at + 8, 4, BIG), Number(at + 12, 4, BIG), Number(at + 16, 4, BIG)]
        if kind == b"IHDR":
            anatomy.numbers += [Number(at + offset, 1, BIG) for offset in (16, 17, 20)]
        if kind == b"acTL":
            anatomy.add(at + 8, 4, BIG)
        at += 12 + int.from_bytes(data[at : at + 4], "big")


def _gif(data: bytes, anatomy: Anatomy) -> None:
    anatomy.numbers += [Number(6, 2, LITTLE), Number(8, 2, LITTLE), Number(10, 1, LITTLE)]
    at = 13 + _colours(data[10])
    while data[at] != 0x3B:
        anatomy.cuts.append(at)
        if data[at] == 0x2C:  # an image: left, top, width, height, flags
            anatomy.numbers += [Number(at + offset, 2, LITTLE) for offset in (1, 3, 5, 7)]
            at += 10 + _colours(data[at + 9]) + 1
        else:
            at += 2
        while data[at]:
            anatomy.add(at, 1, LITTLE)
            at += 1 + data[at]
        at += 1
    anatomy.cuts.append(at)


def _colours(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _webp(data: bytes, anatomy: Anatomy) -> None:
    anatomy.add(4, 4, LITTLE)
    at = 12
    places = {b"VP8X": ((8, 1), (12, 3), (15, 3)), b"VP8 ": ((14, 2), (16, 2)), b"VP8L": ((9, 4),)}
    places[b"ANMF"] = ((8, 3), (11, 3), (14, 3), (17, 3), (28, 4))
    while at + 8 <= len(data):
        anatomy.cuts.append(at)
        anatomy.add(at + 4, 4, LITTLE)
        for offset, width in places.get(data[at : at + 4], ()):
            anatomy.add(at + offset, width, LITTLE)
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + length % 2


def _tiff(data: bytes, anatomy: Anatomy) -> None:
    order = LITTLE if data.startswith(b"II") else BIG

    def read(at: int, width: int) -> int:
        return int.from_bytes(data[at : at + width], "little" if order == LITTLE else "big")

    anatomy.add(4, 4, order)
    at = read(4, 4)
    while at:
        anatomy.cuts.append(at)
        anatomy.add(at, 2, order)
        entries = [at + 2 + _TIFF_ENTRY * number for number in range(read(at, 2))]
        for entry in entries:
            anatomy.cuts.append(entry)
            for offset, width in ((0, 2), (2, 2), (4, 4), (8, 2), (8, 4)):
                anatomy.add(entry + offset, width, order)
        at = read(entries[-1] + _TIFF_ENTRY, 4)
    anatomy.cuts.sort()


def _bmp(data: bytes, anatomy: Anatomy) -> None:
    start = int.from_bytes(data[10:14], "little")
    anatomy.cuts += [14, 18, min(start, 54), start]
    whole = ((2, 4), (10, 4), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2), (30, 4), (34, 4), (46, 4))
    old = ((10, 4), (14, 4), (18, 2), (20, 2), (22, 2), (24, 2))
    for offset, width in old if data[14] == 12 else whole:
        anatomy.add(offset, width, LITTLE)


def _avif(data: bytes, anatomy: Anatomy) -> None:
    for found in _BOXES.finditer(data):
        at = found.start() - 4
        anatomy.cuts.append(at)
        anatomy.add(at, 4, BIG)
        for word in range(3):
            anatomy.add(min(at + 12 + 4 * word, len(data) - 4), 4, BIG)


def _ico(data: bytes, anatomy: Anatomy) -> None:
    anatomy.add(4, 2, LITTLE)
    for number in range(int.from_bytes(data[4:6], "little")):
        entry = 6 + _ICO_ENTRY * number
        anatomy.cuts += [entry, int.from_bytes(data[entry + 12 : entry + 16], "little")]
        for offset, width in ((0, 1), (1, 1), (2, 1), (6, 2), (8, 4), (12, 4)):
            anatomy.add(entry + offset, width, LITTLE)
        inner = anatomy.cuts[-1]
        offsets = (16, 20) if data[inner : inner + 4] == b"\x89PNG" else (4, 8)
        order = BIG if offsets[0] == 16 else LITTLE
        anatomy.numbers += [Number(inner + offset, 4, order) for offset in offsets]
    anatomy.cuts.sort()


_WALKS: dict[str, Callable[[bytes, Anatomy], None]] = {
    "jpeg": _jpeg,
    "png": _png,
    "gif": _gif,
    "webp": _webp,
    "tiff": _tiff,
    "bmp": _bmp,
    "avif": _avif,
    "ico": _ico,
}

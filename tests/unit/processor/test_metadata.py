"""What of an original's notes a render carries: needles are put into every input and looked for in every output."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin, TiffImagePlugin

from processor_svc.render import render
from tests.unit.processor.handmade import chunk
from tests.unit.processor.pictures import encoded, job_for, quadrants, rendered

SECRETS = [b"SERIAL-4711", b"MAKERNOTE", b"USERCOMMENT", b"XMPPLACE", b"IPTCNAME", b"A-COMMENT", b"OWNER-NAME"]
SECRETS += [b"UNIQUE-ID", b"PRIVATE-TAG", b"GPSAREA", b"DNGSERIAL"]
PUBLIC = [b"An Artist", b"A Copyright", b"A Description", b"2024:05:06 07:08:09"]
OUTPUTS = ["jpeg", "png", "webp", "avif"]

XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><exif:GPSLatitude>XMPPLACE</exif:GPSLatitude></x:xmpmeta>"
IPTC = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x0d\x1c\x02\x50\0\x08IPTCNAME\0"


def notes() -> Image.Exif:
    exif = Image.Exif()
    exif.update({0x010E: "A Description", 0x010F: "Maker", 0x0112: 1, 0x013B: "An Artist", 0x8298: "A Copyright"})
    exif.update({0xC62F: "DNGSERIAL", 0xC4A5: b"PRIVATE-TAG"})
    details = {0x9003: "2024:05:06 07:08:09", 0x829D: 2.8, 0x927C: b"MAKERNOTE", 0x9286: b"ASCII\0\0\0USERCOMMENT"}
    exif.get_ifd(0x8769).update(details)
    exif.get_ifd(0x8769).update({0xA431: "SERIAL-4711", 0xA435: "SERIAL-4711", 0xA430: "OWNER-NAME"})
    exif.get_ifd(0x8769).update({0xA420: "UNIQUE-ID", 0xFDE8: "OWNER-NAME"})
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 8.0, 0.0), 3: "E", 4: (11.0, 34.0, 0.0), 28: b"GPSAREA"})
    return exif


def thumbnailed(exif: bytes) -> bytes:
    """The same notes with a second directory behind the first: a thumbnail (Exif 3.0, section 4.5.1)."""
    thumbnail = encoded(Image.new("RGB", (16, 16)), "JPEG", comment=b"A-COMMENT")
    head, tiff = exif[:6], exif[6:]
    order = "<" if tiff[:2] == b"II" else ">"
    (first,) = struct.unpack_from(f"{order}I", tiff, 4)
    (count,) = struct.unpack_from(f"{order}H", tiff, first)
    link = first + 2 + 12 * count
    entries = [
        (0x0103, 3, 1, 6 << 16 if order == ">" else 6),
        (0x0201, 4, 1, len(tiff) + 42),
        (0x0202, 4, 1, len(thumbnail)),
    ]
    directory = (
        struct.pack(f"{order}H", 3) + b"".join(struct.pack(f"{order}HHII", *entry) for entry in entries) + bytes(4)
    )
    return head + tiff[:link] + struct.pack(f"{order}I", len(tiff)) + tiff[link + 4 :] + directory + thumbnail


def jpeg() -> bytes:
    data = encoded(quadrants(), "JPEG", exif=thumbnailed(notes().tobytes()), comment=b"A-COMMENT", xmp=XMP)
    iptc = b"\xff\xed" + struct.pack(">H", len(IPTC) + 2) + IPTC
    return data[:2] + iptc + data[2:]


def png() -> bytes:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", "A-COMMENT")
    texts.add_text("Raw", "OWNER-NAME", zip=True)
    texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
    data = encoded(quadrants(), "PNG", exif=notes(), pnginfo=texts)
    return data[:-12] + chunk(b"tEXt", b"Late\0A-COMMENT") + data[-12:]


def gif() -> bytes:
    data = encoded(quadrants(), "GIF", comment=b"A-COMMENT")
    xmp = b"\x21\xff\x0bXMP DataXMP" + bytes([len(XMP)]) + XMP + b"\0"
    return data[:-1] + xmp + b";"


def tiff() -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    exif = notes()
    for number in (0x010E, 0x013B, 0x8298, 0xC62F):
        tags[number] = exif[number]
    tags[700], tags[33723], tags[34377] = XMP, IPTC, IPTC
    tags.tagtype[700] = tags.tagtype[33723] = tags.tagtype[34377] = 7
    file = io.BytesIO()
    tags[0x8769] = dict(exif.get_ifd(0x8769))
    tags[0x8825] = dict(exif.get_ifd(0x8825))
    quadrants().save(file, "TIFF", tiffinfo=tags)
    return file.getvalue()


ORIGINALS = {
    "jpeg": jpeg(),
    "png": png(),
    "gif": gif(),
    "tiff": tiff(),
    "webp": encoded(quadrants(), "WEBP", exif=thumbnailed(notes().tobytes()), xmp=XMP),
    "avif": encoded(quadrants(), "AVIF", exif=notes(), xmp=XMP),
}
ORIGINALS["ico"] = (
    struct.pack("<HHHBBBBHHII", 0, 1, 1, 64, 48, 0, 0, 1, 32, len(ORIGINALS["png"]), 22) + ORIGINALS["png"]
)


def parts_of(data: bytes, format_: str) -> set[bytes]:
    """What a file consists of: chunks, markers or boxes by their names."""
    return set({"png": _chunks, "webp": _riff, "jpeg": _markers, "avif": _items}[format_](data))


def _chunks(data: bytes) -> Iterator[bytes]:
    at = 8
    while at < len(data):
        yield data[at + 4 : at + 8]
        at += 12 + int.from_bytes(data[at : at + 4], "big")


def _riff(data: bytes) -> Iterator[bytes]:
    at = 12
    while at < len(data):
        yield data[at : at + 4]
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2


def _markers(data: bytes) -> Iterator[bytes]:
    at = 2
    while data[at + 1] != 0xDA:
        yield data[at + 1 : at + 2]
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def _items(data: bytes) -> Iterator[bytes]:
    return (found.group(1) for found in re.finditer(rb"infe.{8}(.{4})", data, re.S))


PIXELS = {
    "png": {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"},
    "webp": {b"VP8 ", b"VP8L", b"VP8X", b"ALPH"},
    "jpeg": {b"\xe0", b"\xc0", b"\xc4", b"\xdb"},
    "avif": {b"av01"},
}
NOTES = {"png": b"eXIf", "webp": b"EXIF", "jpeg": b"\xe1", "avif": b"Exif"}


def outputs_of(folder: Path, source: str, metadata: str) -> dict[str, bytes]:
    variants = [{"name": name, "width": 64, "format": name} for name in OUTPUTS]
    job = job_for(folder, ORIGINALS[source], source, *variants, metadata=metadata)
    render(job)
    return {name: Path(path).read_bytes() for name, path in job.outputs.items()}


def test_the_needles_are_in_the_originals() -> None:
    for source, data in ORIGINALS.items():
        there = [needle for needle in SECRETS if needle in data]
        assert len(there) >= (2 if source == "gif" else 5), (source, there)


@pytest.mark.parametrize("source", ORIGINALS)
def test_no_note_of_any_kind_is_in_a_render(source: str, tmp_path: Path) -> None:
    for format_, made in outputs_of(tmp_path, source, "strip").items():
        assert parts_of(made, format_) <= PIXELS[format_]
        assert [needle for needle in SECRETS + PUBLIC if needle in made] == []


@pytest.mark.parametrize("source", ORIGINALS)
def test_what_is_kept_is_public_and_nothing_else(source: str, tmp_path: Path) -> None:
    for format_, made in outputs_of(tmp_path, source, "keep").items():
        assert [needle for needle in SECRETS if needle in made] == []
        with Image.open(io.BytesIO(made)) as image:
            exif = image.getexif()
        assert not exif.get_ifd(0x8825)
        assert parts_of(made, format_) <= PIXELS[format_] | {NOTES[format_]}
        if source != "gif":
            assert [needle for needle in PUBLIC if needle not in made] == [], format_


@pytest.mark.parametrize("source", [source for source in ORIGINALS if source != "gif"])
def test_no_serial_number_and_no_place_is_in_the_record(source: str, tmp_path: Path) -> None:
    result, _ = rendered(tmp_path, ORIGINALS[source], source, {"width": 32})

    said = " ".join(result.source.exif.values())
    assert "An Artist" in said
    assert [needle for needle in SECRETS if needle.decode() in said] == []
    assert not [name for name in result.source.exif if "GPS" in name]


@pytest.mark.parametrize("format_", OUTPUTS)
def test_a_novel_in_the_description_does_not_fill_every_thumbnail(format_: str, tmp_path: Path) -> None:
    exif = notes()
    exif[0x010E] = "A very long story. " * 3300

    _, (image,) = rendered(
        tmp_path, encoded(quadrants(), "PNG", exif=exif), "png", {"width": 32, "format": format_}, metadata="keep"
    )

    assert 0x010E not in image.getexif()
    assert image.getexif()[0x013B] == "An Artist"


def test_the_orientation_that_was_applied_is_reset(tmp_path: Path) -> None:
    exif = notes()
    exif[0x0112] = 6

    _, (image,) = rendered(
        tmp_path, encoded(quadrants(), "JPEG", exif=exif), "jpeg", {"width": 64, "format": "jpeg"}, metadata="keep"
    )

    assert (image.size, image.getexif()[0x0112]) == ((48, 64), 1)

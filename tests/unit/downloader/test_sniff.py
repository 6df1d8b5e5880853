from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from downloader_svc.sniff import Kind, disagreements, sniff

RENDERED = {
    "jpeg": "JPEG",
    "png": "PNG",
    "gif": "GIF",
    "webp": "WEBP",
    "tiff": "TIFF",
    "bmp": "BMP",
    "avif": "AVIF",
    "ico": "ICO",
}


@pytest.mark.parametrize(("name", "pillow"), RENDERED.items())
def test_every_format_that_is_rendered_is_known_by_its_first_bytes(name: str, pillow: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(file, pillow)

    sniffed = sniff(file.getvalue()[:1024])

    assert (sniffed.kind, sniffed.format) == (Kind.PICTURE, name)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "HEIC"),
        (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1heic", "HEIC"),
        (b"\xff\x0a" + bytes(30), "JPEG XL"),
        (b"\x00\x00\x00\x0cJXL \r\n\x87\n" + bytes(30), "JPEG XL"),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(30), "JPEG 2000"),
        (b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00isommp42", "a video"),
        (b"\x00\x00\x00\x14ftypqt  \x00\x00\x00\x00qt  ", "a video"),
        (b"\x00\x00\x00\x18ftypcrx \x00\x00\x00\x01crx isom", "a camera's raw file"),
        (b"\x1aE\xdf\xa3\x01\x00\x00\x00", "a video"),
        (b"RIFF\x00\x10\x00\x00AVI LIST", "a video"),
        (b"II*\x00\x10\x00\x00\x00CR\x02\x00" + bytes(30), "a camera's raw file"),
        (b"\xff\xd8\xff\xf7\x00\x0b" + bytes(30), "JPEG-LS"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"),
        (b"\xc5\xd0\xd3\xc6" + bytes(30), "PostScript"),
        (b"P6\n64 64\n255\n", "Netpbm"),
        (b"qoif\x00\x00\x00\x40", "QOI"),
        (b"%PDF-1.7\n", "PDF"),
        (b"8BPS\x00\x01", "Photoshop"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\xef\xbb\xbf <?xml version='1.0'?>\n<!-- <html> -->\n<!DOCTYPE svg PUBLIC 'x'>\n<svg>", "SVG"),
    ],
)
def test_what_is_known_and_not_rendered_is_named(head: bytes, name: str) -> None:
    assert (sniff(head).kind, sniff(head).format) == (Kind.UNSUPPORTED, name)
    assert sniff(head).extension.isalnum()


@pytest.mark.parametrize(
    "head",
    [
        b"<!DOCTYPE html><html>",
        b"\n\t <!doctype HTML PUBLIC '-//W3C//DTD HTML 4.01//EN'>",
        b"\xef\xbb\xbf<html lang=en>",
        b"<!-- cached --><HTML>",
        b"<?xml version='1.0'?><!DOCTYPE html PUBLIC 'XHTML'>",
        b"<head><title>Sign in</title>",
        b"<script>location='/login'</script>",
    ],
)
def test_web_pages_are_known(head: bytes) -> None:
    assert sniff(head).kind is Kind.HTML


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xff\xd8",
        b"BM, and then words that only look like a bitmap",
        b"RIFF\x00\x00\x00\x00WAVEfmt ",
        b'{"error": "not found"}',
        b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
        b"\x00\x00\x01\x00\x00\x00",
        b"PK\x03\x04",
    ],
)
def test_everything_else_is_no_picture(head: bytes) -> None:
    assert sniff(head).kind is Kind.OTHER


@given(st.binary(max_size=1024))
def test_any_bytes_get_an_answer(head: bytes) -> None:
    assert isinstance(sniff(head).kind, Kind)


@pytest.mark.parametrize(
    ("content_type", "name"),
    [
        ("image/jpeg", "a.jpg"),
        ("Image/JPG; charset=binary", "a.JPEG?x=.png"),
        ("application/octet-stream", "a"),
        ("", "a.php"),
    ],
)
def test_agreement_and_silence_are_no_disagreement(content_type: str, name: str) -> None:
    assert disagreements("jpeg", content_type, f"http://h.test/{name}") == ()


def test_each_disagreement_is_a_sentence() -> None:
    assert disagreements("jpeg", "image/png", "http://h.test/a.WEBP") == (
        "The server calls it 'image/png', its first bytes say jpeg.",
        "Its name ends in '.webp', its first bytes say jpeg.",
    )
    assert disagreements("png", "text/html; charset=utf-8", "http://h.test/a") == (
        "The server calls it 'text/html', its first bytes say png.",
    )

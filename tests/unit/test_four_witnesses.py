"""What a picture is, by four witnesses: its server, its name, its first bytes and its decoder, in every pairing.

The first bytes decide; who disagrees with them is a recorded warning and no failure.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_network
from itertools import product
from pathlib import Path

import pytest
from PIL import Image

from downloader_svc.fetch import fetch
from imagemill.http import GuardedClient, HttpSettings
from processor_svc.render import render
from tests.support.fence import fenced
from tests.support.picture_server import PictureServer, picture
from tests.unit.processor.pictures import job_for

TYPES = {
    "jpeg": "image/jpeg",
    "png": "image/png",
    "gif": "image/gif",
    "webp": "image/webp",
    "tiff": "image/tiff",
    "bmp": "image/bmp",
    "avif": "image/avif",
    "ico": "image/vnd.microsoft.icon",
}
ENDINGS = {name: f".{name}" for name in TYPES} | {"jpeg": ".jpg", "tiff": ".tif"}
NO_PICTURES = ("text/html; charset=utf-8", "text/plain", "application/json", "image/heic", "image/svg+xml", "nonsense")
SILENT = ("", "application/octet-stream", "binary/octet-stream")


def made(name: str) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((40, 30), 60.0).convert("RGB").save(file, name.upper())
    return file.getvalue()


CONTENT = {name: made(name) for name in TYPES}


@pytest.fixture
async def server() -> AsyncIterator[PictureServer]:
    with fenced():
        async with PictureServer() as server:
            yield server


@pytest.fixture
async def client(server: PictureServer) -> AsyncIterator[GuardedClient]:
    async with GuardedClient(HttpSettings(allow_nets=(ip_network("127.0.0.0/8"),))) as client:
        yield client


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[io.FileIO]:
    with io.FileIO(tmp_path / "slot", "w+") as sink:
        yield sink


@pytest.mark.parametrize("name", TYPES)
async def test_server_and_name_disagree_with_the_first_bytes(
    client: GuardedClient, server: PictureServer, sink: io.FileIO, name: str
) -> None:
    for (typed, type_), (ended, ending) in product(TYPES.items(), ENDINGS.items()):
        url = server.route(f"/{typed}{ending}", picture(CONTENT[name], type_))

        fetched = await fetch(client, url, sink)

        expected = []
        if typed != name:
            expected.append(f"The server calls it '{type_}', its first bytes say {name}.")
        if ended != name:
            expected.append(f"Its name ends in '{ending}', its first bytes say {name}.")
        assert (fetched.format, list(fetched.warnings)) == (name, expected)


@pytest.mark.parametrize("type_", NO_PICTURES)
async def test_a_type_that_is_no_picture_the_mill_knows_is_a_warning(
    client: GuardedClient, server: PictureServer, sink: io.FileIO, type_: str
) -> None:
    for name, content in CONTENT.items():
        fetched = await fetch(client, server.route(f"/a{ENDINGS[name]}", picture(content, type_)), sink)

        shown = type_.partition(";")[0]
        assert fetched.warnings == (f"The server calls it '{shown}', its first bytes say {name}.",)


@pytest.mark.parametrize("type_", SILENT)
@pytest.mark.parametrize("ending", ["", ".php", ".jpg.php", "/", ".JPG?format=.png"])
async def test_silence_is_no_disagreement(
    client: GuardedClient, server: PictureServer, sink: io.FileIO, type_: str, ending: str
) -> None:
    fetched = await fetch(client, server.route(f"/a{ending}", picture(CONTENT["jpeg"], type_)), sink)

    assert fetched.warnings == ()


@pytest.mark.parametrize("name", TYPES)
def test_the_decoder_disagrees_with_the_first_bytes(tmp_path: Path, name: str) -> None:
    for promised in TYPES:
        result = render(job_for(tmp_path, CONTENT[name], promised, {"width": 16, "height": 16, "format": "png"}))

        expected = () if promised == name else (
            f"The first bytes promise {promised.upper()}, the content is {name.upper()}.",
        )  # fmt: skip
        assert (result.source.format, result.warnings) == (name, expected)

"""What is set reaches the service that it is for, at the start and, where that is promised, while the mill runs."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from downloader_svc.settings import DownloaderSettings
from imagemill.client import MillClient
from imagemill.client.settings import SettingsClient
from imagemill.domain.presets import PRESETS
from imagemill.embedded import EmbeddedSettings, open_mill
from imagemill.settings.declaring import settings_of
from imagemill.settings.groups import Downloading, MillSettings, Rendering, Retrying
from imagemill.settings.live import LiveSettings
from imagemill.settings.loading import Resolved, defaults
from imagemill.v1.batch_pb2 import Batch, Item
from processor_svc.pool import PoolSettings
from processor_svc.settings import ProcessorSettings
from tests.support import pictures
from tests.support.eventually import eventually
from tests.support.picture_server import PictureServer, Reply, picture, redirect, slow, stalled, status
from tests.unit.embedded.conftest import LOOPBACK, PATIENCE_S

GOOD = pictures.jpeg(64, 48)
LARGE = b"\xff\xd8\xff\xe0" + random.Random(5).randbytes(1_100_000)
RECIPE = PRESETS["dataset-256"].to_mapping()
USUAL = MillSettings()


def downloader(values: MillSettings) -> DownloaderSettings:
    return DownloaderSettings.of("unix:storage", values, values.retry_policy)


def processor(values: MillSettings) -> tuple[ProcessorSettings, PoolSettings]:
    return ProcessorSettings.of("unix:storage", values, values.retry_policy), PoolSettings.of(values)


def with_example(name: str) -> MillSettings:
    setting = settings_of(MillSettings)[name]
    return replace(USUAL, **{name: setting.kind.read(setting.example.strip("'"))})


def test_a_service_that_is_told_nothing_does_what_the_settings_say_is_usual() -> None:
    assert downloader(USUAL) == DownloaderSettings("unix:storage")
    assert processor(USUAL) == (ProcessorSettings("unix:storage"), PoolSettings())


@pytest.mark.parametrize("name", [*settings_of(Downloading), *settings_of(Retrying)])
def test_each_figure_of_downloads_reaches_the_downloader(name: str) -> None:
    assert downloader(with_example(name)) != downloader(USUAL)


@pytest.mark.parametrize("name", [*settings_of(Rendering), *settings_of(Retrying)])
def test_each_figure_of_rendering_reaches_the_processor(name: str) -> None:
    assert processor(with_example(name)) != processor(USUAL)


class Bench:
    """A mill, its settings and a picture server: tries one picture at a time."""

    def __init__(self, server: PictureServer, client: MillClient, settings: SettingsClient) -> None:
        self.server = server
        self._client = client
        self._settings = settings
        self._number = 0

    async def code(self, *replies: Reply, **values: str) -> str:
        """Give the error code of a picture that is fetched with these settings, empty for a success."""
        usual = {name: settings_of(MillSettings)[name].default_shown for name in values}
        await self._settings.update(values)
        self._number += 1
        batch = await self._client.submit([self.server.route(f"/{self._number}.jpg", *replies)], recipe=RECIPE)
        await eventually(partial(self._ended, batch), timeout_s=PATIENCE_S)
        (item,) = [item async for item in self._client.items(batch)]
        await self._settings.update(usual)
        assert (item.state == Item.STATE_SUCCEEDED) != bool(item.failure.code)
        return item.failure.code

    @property
    def last_requests(self) -> list[dict[str, str]]:
        """The headers of the requests for the last picture."""
        return self.server.heads[f"/{self._number}.jpg"]

    async def _ended(self, batch: Batch) -> bool:
        return (await self._client.get(batch)).state == Batch.STATE_COMPLETED


@asynccontextmanager
async def bench(home: Path) -> AsyncIterator[Bench]:
    usual = defaults(MillSettings)
    told = Resolved(replace(usual.values, allow_nets=LOOPBACK, children=1, retries=0), usual.origins)
    async with (
        PictureServer() as server,
        open_mill(EmbeddedSettings(home, told.values), live=LiveSettings(told)) as mill,
        MillClient(mill.target) as client,
        SettingsClient(mill.target) as settings,
    ):
        yield Bench(server, client, settings)


async def test_figures_of_a_running_mill_take_effect_when_they_are_changed(tmp_path: Path) -> None:
    async with bench(tmp_path / "mill") as mill:
        assert await mill.code(picture(GOOD), user_agent="Gallery/2.0 (+https://example.com/bot)") == ""
        assert [each["user-agent"] for each in mill.last_requests] == ["Gallery/2.0 (+https://example.com/bot)"]
        assert await mill.code(picture(GOOD)) == ""
        assert "Imagemill/" in mill.last_requests[0]["user-agent"]

        assert await mill.code(picture(GOOD), min_file_size="1MB") == "CONTENT_TOO_SMALL"
        assert await mill.code(picture(LARGE), max_file_size="1MB") == "CONTENT_TOO_LARGE"
        assert await mill.code(picture(GOOD), max_pixels="1000") == "TOO_MANY_PIXELS"
        assert await mill.code(redirect(mill.server.url("/1.jpg")), max_redirects="0") == "TOO_MANY_REDIRECTS"
        assert await mill.code(redirect(mill.server.url("/1.jpg"))) == ""
        assert await mill.code(stalled(GOOD, 100), read_timeout_s="0.2") == "READ_TIMEOUT"
        lame = {"min_bytes_per_s": "1e9", "throughput_window_s": "1"}
        assert await mill.code(slow(LARGE, 400_000), **lame) == "TOO_SLOW"


async def test_quick_tries_of_a_running_mill_are_as_many_as_they_are_set_to(tmp_path: Path) -> None:
    busy = status(503, Retry_After="2")
    async with bench(tmp_path / "mill") as mill:
        assert await mill.code(busy, quick_retries="0") == "SOURCE_SERVER_ERROR"
        assert len(mill.last_requests) == 1
        # The server's wish is longer than may be waited for.
        assert await mill.code(busy, quick_longest_delay_s="1") == "SOURCE_SERVER_ERROR"
        assert len(mill.last_requests) == 1
        assert await mill.code(status(503), quick_retries="4", quick_delay_s="0.01") == "SOURCE_SERVER_ERROR"
        assert len(mill.last_requests) == 5

"""Settings that are changed while the mill runs truly take effect, and the rest is refused with the reason."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest

from imagemill.client import MillClient, MillError
from imagemill.client.settings import SettingsClient
from imagemill.domain.presets import PRESETS
from imagemill.embedded import EmbeddedSettings, open_mill
from imagemill.embedded.mill import Mill
from imagemill.runtime.logs import OURS, set_level, start_logging
from imagemill.settings.groups import MillSettings
from imagemill.settings.live import LiveSettings
from imagemill.settings.loading import Resolved, Sources, load
from imagemill.settings.origins import Given, Layer, Origin
from imagemill.v1.batch_pb2 import Batch
from imagemill.v1.settings_service_pb2 import Setting
from tests.support import pictures
from tests.support.eventually import eventually

RECIPE = PRESETS["dataset-256"].to_mapping()
PATIENCE_S = 20.0


class Turnstile:
    """A picture server that holds every request until it is let through, and counts those that it holds."""

    def __init__(self) -> None:
        self.held = 0
        self.peak = 0
        """The most that were held at once since this was set back."""
        self.served = 0
        self._tickets = asyncio.Semaphore(0)

    async def __aenter__(self) -> Turnstile:
        self._visits = set[asyncio.Task[None]]()
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *details: object) -> None:
        self._server.close()
        for visit in self._visits:
            visit.cancel()
        await asyncio.gather(*self._visits, return_exceptions=True)

    def urls(self, number: int) -> list[str]:
        return [f"http://127.0.0.1:{self._port}/{n}.jpg" for n in range(number)]

    def is_at(self, served: int, held: int) -> bool:
        return (self.served, self.held) == (served, held)

    def let_through(self, number: int) -> None:
        for _ in range(number):
            self._tickets.release()

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = asyncio.create_task(self._visit(reader, writer))
        self._visits.add(visit)

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        plain = pictures.jpeg(64, 48)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.held += 1
                self.peak = max(self.peak, self.held)
                await self._tickets.acquire()
                self.held -= 1
                self.served += 1
                body = pictures.numbered(plain, int(head.split(b"/")[1].split(b".")[0]))
                answer = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(body)
                writer.write(answer + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def resolved(**values: object) -> Resolved[MillSettings]:
    options = [
        Given(name, value, Origin(Layer.COMMAND_LINE, f"--{name}"))
        for name, value in ({"allow_nets": "127.0.0.0/8", "children": 1, "retries": 0} | values).items()
    ]
    return load(MillSettings, Sources(tuple(options), environ={}, folder=None))


@pytest.fixture
async def mill(tmp_path: Path) -> AsyncIterator[Mill]:
    told = resolved(downloads=6, per_host=6, log_level="warning")
    settings = EmbeddedSettings(tmp_path / "mill", told.values)
    live = LiveSettings(told)
    with live.values.followed_by(lambda values: set_level(values.log_level)):
        async with open_mill(settings, live=live) as opened, asyncio.timeout(90.0):
            yield opened
            assert not opened.failed.done()


@pytest.fixture
def _own_logging() -> Iterator[None]:
    """Give the test's process back the logging that it had."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.raiseExceptions
    yield
    for handler in set(root.handlers) - set(before[0]):
        handler.close()
    root.handlers[:], logging.raiseExceptions = before[0], before[2]
    root.setLevel(before[1])
    for name in OURS:
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.captureWarnings(False)


@pytest.mark.parametrize("name", ["downloads", "per_host"])
async def test_the_number_of_downloads_falls_and_rises_in_a_running_mill(mill: Mill, name: str) -> None:
    other = "per_host" if name == "downloads" else "downloads"
    async with Turnstile() as server, MillClient(mill.target) as client, SettingsClient(mill.target) as settings:
        await settings.update({other: "200"})
        batch = await client.submit(server.urls(150), recipe=RECIPE)
        await eventually(lambda: server.held == 6, timeout_s=PATIENCE_S)

        await settings.update({name: "2"})
        server.let_through(4)
        await eventually(partial(server.is_at, 4, 2), timeout_s=PATIENCE_S)
        server.peak = 0
        for served in range(5, 15):
            server.let_through(1)
            await eventually(partial(server.is_at, served, 2), timeout_s=PATIENCE_S)
        assert server.peak == 2

        # More than there were places for originals at the start.
        await settings.update({name: "90"})
        await eventually(lambda: server.held == 90, timeout_s=PATIENCE_S)
        server.let_through(1000)
        await eventually(lambda: ended(client, batch), timeout_s=PATIENCE_S)
        assert (await client.get(batch)).progress.succeeded == 150
        assert server.peak == 90


async def ended(client: MillClient, batch: Batch) -> bool:
    return (await client.get(batch)).state == Batch.STATE_COMPLETED


async def test_the_deadline_and_the_retries_of_a_running_mill_change(mill: Mill) -> None:
    async with Turnstile() as server, MillClient(mill.target) as client, SettingsClient(mill.target) as settings:
        await settings.update({"timeout_s": "1"})
        batch = await client.submit(server.urls(1), recipe=RECIPE)
        await eventually(lambda: ended(client, batch), timeout_s=PATIENCE_S)
        (item,) = [item async for item in client.items(batch)]
        assert item.failure.code == "DOWNLOAD_TIMEOUT"
        assert item.attempts == 1

        await settings.update({"timeout_s": "1", "retries": "2"})
        await client.retry_failed(batch)
        # Nobody waits any more for the answers to the first attempts.
        await eventually(lambda: server.held == 3, timeout_s=PATIENCE_S)
        server.let_through(3)
        await eventually(lambda: ended(client, batch), timeout_s=PATIENCE_S)
        assert (await client.get(batch)).progress.succeeded == 1


@pytest.mark.usefixtures("_own_logging")
async def test_the_log_tells_more_and_less_while_the_mill_runs(mill: Mill, tmp_path: Path) -> None:
    path = tmp_path / "mill.log"
    start_logging(path, to_stderr=False, level="warning", form="json")

    def lines(level: str) -> int:
        return sum(json.loads(line)["level"] == level for line in path.read_text().splitlines())

    async def one_more() -> None:
        batch = await client.submit(server.urls(1), recipe=RECIPE)
        server.let_through(1)
        await eventually(lambda: ended(client, batch), timeout_s=PATIENCE_S)

    async with Turnstile() as server, MillClient(mill.target) as client, SettingsClient(mill.target) as settings:
        await one_more()
        assert lines("debug") + lines("info") == 0

        await settings.update({"log_level": "debug"})
        await one_more()
        await eventually(lambda: lines("debug") > 0)

        await settings.update({"log_level": "warning"})
        told = lines("debug")
        await one_more()
        assert lines("debug") == told


async def test_settings_are_told_with_their_origins_and_what_may_be_changed(mill: Mill) -> None:
    async with SettingsClient(mill.target) as settings:
        told = {each.name: each for each in await settings.list_settings()}
        assert (told["downloads"].value, told["downloads"].origin) == ("6", "--downloads")
        assert told["downloads"].source == Setting.SOURCE_COMMAND_LINE
        assert told["timeout_s"].source == Setting.SOURCE_DEFAULT
        assert told["allow_nets"].fixed_reason
        assert not told["allow_nets"].changeable

        (changed,) = await settings.update({"downloads": "9"})
        assert (changed.value, changed.source) == ("9", Setting.SOURCE_CHANGED)
        assert {each.name: each for each in await settings.list_settings()}["downloads"] == changed


@pytest.mark.parametrize(
    ("values", "reason", "fields"),
    [
        ({"downlods": "3", "per_host": "0"}, "SETTINGS_INVALID", {"values[downlods]", "values[per_host]"}),
        ({"downloads": "9", "children": "3"}, "SETTINGS_FIXED", {"values[children]"}),
    ],
)
async def test_what_cannot_be_changed_is_refused_and_changes_nothing(
    mill: Mill, values: dict[str, str], reason: str, fields: set[str]
) -> None:
    async with SettingsClient(mill.target) as settings:
        before = await settings.list_settings()

        with pytest.raises(MillError) as refused:
            await settings.update(values)

        assert refused.value.reason == reason
        assert set(refused.value.fields) == fields
        assert await settings.list_settings() == before


async def test_more_than_this_machine_allows_is_refused(mill: Mill, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1024, 1024))
    async with SettingsClient(mill.target) as settings:
        with pytest.raises(MillError) as refused:
            await settings.update({"downloads": "1000"})

        assert refused.value.reason == "SETTINGS_REFUSED"
        assert "open files" in refused.value.message
        assert {each.name: each.value for each in await settings.list_settings()}["downloads"] == "6"

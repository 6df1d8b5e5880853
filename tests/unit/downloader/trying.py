"""One picture, a client that may reach this machine, and a try at fetching that ends as a value."""

from __future__ import annotations

import io
import os
import random
from ipaddress import ip_network

import pytest

from downloader_svc.fetch import Fetched, FetchLimits, Timing, fetch
from imagemill.domain.failures import PipelineError
from imagemill.http import GuardedClient, HttpSettings

JPEG = b"\xff\xd8\xff\xe0" + random.Random(3).randbytes(200_000)
SETTINGS = HttpSettings(allow_nets=(ip_network("127.0.0.0/8"),))
LIMITS = FetchLimits()


class Pauses(list[float]):
    """Pauses that take no time and are remembered."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


async def failure(
    client: GuardedClient, url: str, sink: io.FileIO, pauses: Pauses, limits: FetchLimits = LIMITS
) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        await fetch(client, url, sink, limits, Timing(pause=pauses))
    return caught.value


def content(sink: io.FileIO, fetched: Fetched) -> bytes:
    return os.pread(sink.fileno(), fetched.size_bytes, 0)

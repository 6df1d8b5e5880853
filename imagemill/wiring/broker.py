"""Which broker stands behind a URL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from imagemill.adapters.memory_broker import MemoryBroker
from imagemill.ports.broker import Broker
from imagemill.ports.unavailable import UrlUnusable


@asynccontextmanager
async def open_broker(url: str) -> AsyncIterator[Broker]:
    """Open the broker of a URL for as long as the context lasts.

    `memory:` lives and dies with it. `amqp://user:password@host:port/vhost` (`amqps:` with TLS) is RabbitMQ; one that
    is away is no error, but awaited. Raises `UrlUnusable`.
    """
    scheme = urlsplit(url).scheme
    if scheme == "memory":
        yield MemoryBroker()
    elif scheme in ("amqp", "amqps"):
        # A mill without RabbitMQ starts sooner without its library.
        from imagemill.adapters.rabbitmq import open_rabbitmq

        async with open_rabbitmq(url) as broker:
            yield broker
    else:
        raise UrlUnusable(f"{scheme!r} is no broker; use amqp:, amqps: or memory:")

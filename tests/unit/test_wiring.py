"""Which adapter a URL opens."""

from __future__ import annotations

import subprocess
import sys

import pytest

from imagemill.adapters.memory_broker import MemoryBroker
from imagemill.wiring.broker import open_broker


async def test_the_memory_broker_is_opened_by_its_scheme() -> None:
    async with open_broker("memory:") as broker:
        assert isinstance(broker, MemoryBroker)


async def test_what_is_no_broker_is_refused_with_what_would_be() -> None:
    with pytest.raises(ValueError, match="'redis' is no broker; use amqp:, amqps: or memory:"):
        async with open_broker("redis://localhost"):
            pass


def test_a_mill_without_rabbitmq_does_not_load_its_library() -> None:
    program = "import sys, imagemill.wiring.broker; sys.exit('aio_pika' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0

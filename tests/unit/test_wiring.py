"""Which adapter a URL opens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from imagemill.adapters.memory_broker import MemoryBroker
from imagemill.ports.unavailable import UrlUnusable
from imagemill.wiring.blobs import open_blobs
from imagemill.wiring.broker import open_broker


async def test_the_memory_broker_is_opened_by_its_scheme() -> None:
    async with open_broker("memory:") as broker:
        assert isinstance(broker, MemoryBroker)


async def test_what_is_no_broker_is_refused_with_what_would_be() -> None:
    with pytest.raises(ValueError, match="'redis' is no broker; use amqp:, amqps: or memory:"):
        async with open_broker("redis://localhost"):
            pass


def test_what_is_no_blob_store_is_refused_with_what_would_be() -> None:
    with pytest.raises(
        UrlUnusable, match="'ftp' is no blob store; use file:///FOLDER, s3://BUCKET, gs://BUCKET or az:"
    ):
        open_blobs("ftp://host/folder")


def test_a_mill_with_a_folder_does_not_load_the_library_of_object_stores(tmp_path: Path) -> None:
    program = f"import sys; from imagemill.wiring.blobs import open_blobs; open_blobs('file://{tmp_path}').close()"
    assert subprocess.run([sys.executable, "-c", f"{program}; sys.exit('obstore' in sys.modules)"]).returncode == 0


def test_a_mill_without_rabbitmq_does_not_load_its_library() -> None:
    program = "import sys, imagemill.wiring.broker; sys.exit('aio_pika' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0

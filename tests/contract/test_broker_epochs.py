"""The life of the queues, and what a death in the middle of making them anew leaves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from imagemill.adapters.rabbitmq import open_rabbitmq, session, topology
from imagemill.ports.broker import Queue
from tests.contract.test_broker_rabbitmq import in_thread, is_well
from tests.support.eventually import eventually
from tests.support.rabbitmq_node import RabbitNode


async def test_who_dies_while_a_lost_queue_is_made_anew_leaves_a_new_epoch_to_the_next(
    rabbitmq_node: RabbitNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue is there again then; what was on it is not."""
    async with open_rabbitmq(rabbitmq_node.url) as broker:
        epoch = broker.epoch
    await in_thread(lambda: rabbitmq_node.control("delete_queue", Queue.DOWNLOAD))
    prove_all, proving = topology._prove_all, asyncio.Event()

    async def die(*_: Any) -> None:
        proving.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(topology, "_prove_all", die)
    opening = session.Session(rabbitmq_node.url)
    dying = asyncio.create_task(opening.open())
    await proving.wait()
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    monkeypatch.setattr(topology, "_prove_all", prove_all)

    async with open_rabbitmq(rabbitmq_node.url) as broker:
        await eventually(lambda: is_well(broker), timeout_s=20.0)
        assert broker.epoch > epoch

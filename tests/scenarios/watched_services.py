"""A storage service, or a gateway before one, in a process of its own: for tests of those who watch through them.

`python -m tests.scenarios.watched_services storage LISTEN FOLDER ITEMS` has a batch `b` of so many items. From SIGUSR1
on they go through all their states, for about ten seconds in all. `python -m tests.scenarios.watched_services gateway
LISTEN STORE` relays. Both say on standard output that they serve, and end with SIGTERM.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import gateway.service
import storage_svc.service
from gateway.settings import GatewaySettings
from imagemill import codec
from imagemill.adapters.local_changes import LocalChanges
from imagemill.adapters.memory_broker import MemoryBroker
from imagemill.adapters.sql.sqlite import open_sqlite
from imagemill.domain.items import State
from imagemill.ports.broker import Queue
from imagemill.runtime.memory import share_heaps
from imagemill.settings.live import Live
from imagemill.v1 import messages_pb2
from storage_svc.settings import StorageSettings
from tests.support.builders import event, new_batch, new_items, put_batch

STEPS = 100
STEP_S = 0.1
COURSE = (State.DOWNLOADING, State.DOWNLOADED, State.PROCESSING, State.SUCCEEDED)


async def serve_storage(listen: str, folder: Path, items: int) -> None:
    """Serve the store with its batch, which moves when it is told to."""
    stop, go, ready = _on(signal.SIGTERM), _on(signal.SIGUSR1), asyncio.Event()
    broker, records, changes = MemoryBroker(), await open_sqlite(folder / "mill.db"), LocalChanges()
    await put_batch(records, new_batch(), new_items(range(items)))
    serving = asyncio.create_task(
        storage_svc.service.serve(StorageSettings(listen), broker, records, changes, ready=ready, stop=stop)
    )
    await _say_when(ready)
    await go.wait()
    size = -(-items * len(COURSE) // STEPS)
    for state in COURSE:
        for start in range(0, items, size):
            events = [codec.event_message(event(n, state)) for n in range(start, min(start + size, items))]
            await broker.publish(Queue.EVENTS, [messages_pb2.ItemEvents(events=events).SerializeToString()])
            await asyncio.sleep(STEP_S)
    await serving
    await records.close()


async def serve_gateway(listen: str, storage: str) -> None:
    """Serve the front desk; it claims, too, but nobody takes up what it publishes."""
    stop, ready = _on(signal.SIGTERM), asyncio.Event()
    settings = Live(GatewaySettings(listen, storage))
    serving = asyncio.create_task(gateway.service.serve(settings, MemoryBroker(), ready=ready, stop=stop))
    await _say_when(ready)
    await serving


def _on(number: signal.Signals) -> asyncio.Event:
    event = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(number, event.set)
    return event


async def _say_when(ready: asyncio.Event) -> None:
    await ready.wait()
    print("serving", flush=True)  # noqa: T201 - whoever started it reads it


if __name__ == "__main__":
    share_heaps()
    _, part, *arguments = sys.argv
    if part == "storage":
        asyncio.run(serve_storage(arguments[0], Path(arguments[1]), int(arguments[2])))
    else:
        asyncio.run(serve_gateway(*arguments))

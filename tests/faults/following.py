"""Clients of a mill that is struck: one hands the list in, and each follows the batch from its start to its end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from imagemill.client import MillClient
from imagemill.v1.batch_pb2 import Item

PATIENCE_S = 180.0
RECIPE = {
    "variants": [
        {"name": "small", "mode": "inside", "width": 64, "height": 64, "format": "jpeg"},
        {"name": "tiny", "mode": "inside", "width": 32, "height": 32, "format": "webp"},
    ]
}
"""Two pictures of each, so that a death may leave one of them."""
_FINAL = frozenset({Item.STATE_SUCCEEDED, Item.STATE_FAILED, Item.STATE_SKIPPED, Item.STATE_CANCELLED})


@dataclass
class Followed:
    """What one follower was told."""

    finals: dict[int, int] = field(default_factory=dict)
    """The final state of each item, by index."""
    contradictions: list[str] = field(default_factory=list)
    """Items that were told to be final, and then to be something else."""
    revision: int = 0
    """The last that was told."""

    def hear(self, item: Item) -> None:
        """Note a state that an item is told to be in."""
        known = self.finals.get(item.index)
        if known is not None and known != item.state:
            self.contradictions.append(f"{item.name}: {known}, then {item.state}")
        if item.state in _FINAL:
            self.finals[item.index] = item.state


class Clients:
    """Hands a list in by the first of the mill's doors, and follows it through each of them, in a thread of its own.

    They stop with their context: those of a test that has failed would ask its dead mill through the tests after it.
    """

    def __init__(self, targets: Sequence[str], urls: Sequence[str], *, keep_originals: bool = False) -> None:
        self._targets = targets
        self._urls = urls
        self._keep_originals = keep_originals
        self._runner = asyncio.Runner()
        self._loop = self._runner.get_loop()
        self._thread = threading.Thread(target=self._run, name="clients", daemon=True)
        self._taken = threading.Event()
        self._error: BaseException | None = None
        self.batch_id = ""
        self.followed = [Followed() for _ in targets]
        self._thread.start()

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(RuntimeError):  # its loop is closed: it has come to its end
            self._loop.call_soon_threadsafe(self._stop)
        self._thread.join()

    def until_taken(self, timeout_s: float) -> str:
        """Wait until the batch is handed in; its id."""
        assert self._taken.wait(timeout_s), "the list was not taken in time"
        self._look()
        return self.batch_id

    def until_ended(self, timeout_s: float) -> None:
        """Wait until every follower has been told of the end."""
        self._thread.join(timeout_s)
        self._look()
        assert not self._thread.is_alive(), f"the batch has not ended within {timeout_s:g} s"

    @property
    def ended(self) -> bool:
        """Whether every follower was told of the end, or could not go on."""
        return not self._thread.is_alive()

    def _look(self) -> None:
        if self._error is not None:
            raise AssertionError("a client of the mill could not go on") from self._error

    def _run(self) -> None:
        try:
            with self._runner:
                self._runner.run(self._work())
        except BaseException as error:  # told in the thread of the test
            self._error = error
        finally:
            self._taken.set()

    def _stop(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()

    async def _work(self) -> None:
        async with MillClient(self._targets[0], patience_s=PATIENCE_S) as client:
            batch = await client.submit(
                self._urls, recipe=RECIPE, keep_undecodable=True, keep_originals=self._keep_originals
            )
        self.batch_id = batch.name.removeprefix("batches/")
        self._taken.set()
        async with asyncio.TaskGroup() as following:
            for target, followed in zip(self._targets, self.followed, strict=True):
                following.create_task(_follow(target, batch.name, followed))


async def _follow(target: str, batch: str, followed: Followed) -> None:
    async with MillClient(target) as client:
        async for update in client.watch(batch, view="items", give_up_after_s=PATIENCE_S):
            followed.revision = max(followed.revision, update.revision)
            for item in update.items:
                followed.hear(item)

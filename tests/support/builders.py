"""Values for tests: complete, small, and different only where a test says so."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from imagemill.adapters.memory_broker import MemoryBroker
from imagemill.domain.batches import Batch, BatchState
from imagemill.domain.failures import Failure, FailureCode
from imagemill.domain.items import Facts, Head, ItemEvent, ItemRow, Original, Render, State, Timings
from imagemill.domain.presets import PRESETS
from imagemill.ports.records import Claim, Move, NewItem, Records

RECIPE = PRESETS["dataset-256"]
GONE = Failure(FailureCode.SOURCE_NOT_FOUND, "The server says that there is no such picture.", 404)
BROKEN = Failure(FailureCode.CONTENT_TRUNCATED, "The picture ends too early.", 200)
FAR_OFF = 1e9
"""A lease that no test outlives, in seconds since the epoch of the tests' own clock."""


def queues_of(epoch: str) -> MemoryBroker:
    """A broker that shows an epoch."""
    broker = MemoryBroker()
    broker.epoch = epoch
    return broker


def new_batch(
    batch_id: str = "b", state: BatchState = BatchState.RECEIVING, *, priority: int = 10, created_at: float = 0.0,
    client_id: str = "", request_id: str = "",
) -> Batch:  # fmt: skip
    return Batch(
        id=batch_id,
        state=state,
        recipe=RECIPE.to_json(),
        recipe_fingerprint=RECIPE.fingerprint(),
        client_id=client_id,
        request_id=request_id,
        priority=priority,
        revision=1,
        created_at=created_at,
        changed_at=created_at,
    )


def new_items(indexes: Iterable[int], state: State = State.PENDING, *, host: str = "pictures.test") -> list[NewItem]:
    return [NewItem(index, f"http://{host}/{index}.jpg", index + 1, host, state) for index in indexes]


def digest(content: int) -> str:
    return hashlib.sha256(str(content).encode()).hexdigest()


def original(content: int = 0, *, key: str = "") -> Original:
    """The original with a certain content: equal numbers are equal bytes."""
    return Original(
        sha256=digest(content), size_bytes=1000 + content, format="jpeg", http_status=200, tries=3, width=40, height=30,
        mode="RGB", exif={"Make": "Lumen"}, warnings=("Its extension says png.",), key=key,
    )  # fmt: skip


def success(content: int = 0) -> Facts:
    """All that is known of an item with a certain content once it is rendered."""
    key = f"batches/b/renders/{digest(content)}/{RECIPE.fingerprint()}/fit-256.jpg"
    render = Render("fit-256", key, "jpeg", 256, 192, 9000)
    return Facts(original=original(content), renders=(render,), timings=Timings(1.0, 2.0, 3.0, 4.0, 5.0, 6.0))


def event(index: int, state: State, attempt: int = 0, *, facts: Facts | None = None, batch_id: str = "b") -> ItemEvent:
    """An event with the facts that belong to its state."""
    if facts is None and state is State.SUCCEEDED:
        facts = success(index)
    if facts is None and state in (State.FAILED, State.PENDING):
        facts = Facts(failure=GONE if state is State.FAILED else BROKEN)
    delay_s = 2.0 if state is State.PENDING else 0.0
    return ItemEvent(batch_id, index, attempt, state, facts or Facts(), delay_s)


async def put_batch(records: Records, batch: Batch, items: Sequence[NewItem]) -> None:
    """Write a batch with its items, as if it had been received whole; one that is RECEIVING becomes ACTIVE."""
    if batch.state is BatchState.RECEIVING:
        batch.state = BatchState.ACTIVE
    async with records.write() as unit:
        await unit.insert_batch(batch)
        await unit.insert_items(batch.id, items, batch.revision, batch.created_at)
        for item in items:
            batch.counts.add(item.state)
        batch.revision += len(items)
        await unit.save_batch(batch)


async def claim_rows(
    records: Records, indexes: Iterable[int], *, batch_id: str = "b", token: str = "t", epoch: str = "e",
    lease_until: float = FAR_OFF, claims: int = 1,
) -> None:  # fmt: skip
    """Put items in flight in their present attempt, claimed so many times."""
    async with records.write() as unit:
        (batch,) = (await unit.batches([batch_id])).values()
        rows = []
        for index, head in (await unit.heads(batch_id, list(indexes))).items():
            batch.counts.move(head.state, State.QUEUED)
            batch.revision += 1
            rows.append((index, Head(State.QUEUED, head.attempt, claims), batch.revision))
        await unit.claim(Claim(token, epoch, lease_until), batch_id, rows, 0.0)
        await unit.save_batch(batch)


def move(index: int, head: Head, revision: int, *, facts: Facts | None = None, due_at: float = 0.0) -> Move:
    return Move("b", index, head, revision, due_at, 9.0 if head.state.is_final else None, facts)


async def rows_of(records: Records, batch_id: str = "b") -> list[ItemRow]:
    return await records.items(batch_id, -1, 100_000)


async def batch_of(records: Records, batch_id: str = "b") -> Batch:
    batch = await records.batch(batch_id)
    assert batch is not None
    return batch


async def assert_counters_equal_rows(records: Records, batch_id: str = "b") -> None:
    """Counts by state, bytes and duplicates are what the rows add up to; revisions are used once each."""
    batch, rows = await batch_of(records, batch_id), await rows_of(records, batch_id)
    assert dict(batch.counts) == counted(row.head.state for row in rows)
    originals = [row.facts.original for row in rows if row.head.state.is_final]
    assert batch.downloaded_bytes == sum(each.size_bytes for each in originals if each is not None)
    assert batch.duplicates == sum(row.duplicate_of is not None for row in rows)
    revisions = [row.revision for row in rows]
    assert len(set(revisions)) == len(revisions)
    assert max(revisions, default=0) <= batch.revision


def counted(states: Iterable[State]) -> Mapping[State, int]:
    counts = {state: 0 for state in State}
    for state in states:
        counts[state] += 1
    return counts

"""What the metrics tell of batches, items and queues: counted as rows move, and looked at now and then."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping

from imagemill.domain.batches import Batch, BatchState
from imagemill.domain.items import State, Timings
from imagemill.ports.broker import Broker
from imagemill.ports.records import Move, NewItem, Records
from imagemill.runtime import metrics, traces

MEASURE_S = 5.0
"""How often batches and queues are looked at, in seconds: three looks in a usual interval of Prometheus."""


def count_moves(moves: Iterable[Move]) -> None:
    """Count what became final and what is tried again, once the moves are committed."""
    for move in moves:
        state, facts = move.head.state, move.facts
        if state is State.PENDING:
            metrics.ITEM_RETRIES.add(_code_of(move))
        elif state.is_final:
            metrics.ITEMS_FINISHED.add(state.name, _code_of(move))
            if facts is not None and facts.timings is not None:
                _observe(facts.timings)


def trace_moves(step: str, batches: Mapping[str, Batch], moves: Iterable[Move], began: float) -> None:
    """Tell the traces of items what a step, which began at a moment, did to their rows, once that is committed."""
    if not traces.is_on():
        return
    for move in moves:
        batch, state = batches[move.batch_id], move.head.state
        code = _code_of(move)
        facts: dict[str, str | int] = {"state": state.name, "attempt": move.head.attempt}
        if code:
            facts["error_code"] = code
        traces.moved(step, batch.trace, move.batch_id, move.index, began, **facts)
        if state.is_final:
            traces.ended(batch.trace, move.batch_id, move.index, batch.created_at, **facts)


def _code_of(move: Move) -> str:
    facts = move.facts
    return facts.failure.code.value if facts is not None and facts.failure is not None else ""


def count_final_at_once(items: Iterable[NewItem]) -> None:
    """Count the new items that are final as they come, once they are committed."""
    for item in items:
        if item.state.is_final:
            metrics.ITEMS_FINISHED.add(item.state.name, item.failure.code.value if item.failure else "")


def _observe(timings: Timings) -> None:
    for operation, spent_ms in (
        ("download", timings.download_ms),
        ("decode", timings.decode_ms),
        ("resize", timings.resize_ms),
        ("encode", timings.encode_ms),
        ("store", timings.store_ms),
    ):
        if spent_ms:
            metrics.OPERATION_SECONDS.observe(spent_ms / 1000, operation)


def measuring(records: Records, broker: Broker) -> Callable[[], Awaitable[None]]:
    """Look at what no event tells: unfinished batches, their items, how long they wait, and the queues."""

    async def measure() -> None:
        now = time.time()
        await _measure_batches(records, now)
        waits = await records.waits(now)
        metrics.OLDEST_DUE_SECONDS.set(_age(waits.due_since, now))
        metrics.OLDEST_CLAIM_SECONDS.set(_age(waits.claimed_since, now))
        for queue, depth in (await broker.depths()).items():
            metrics.QUEUE_MESSAGES.set(depth.waiting, queue, "waiting")
            metrics.QUEUE_MESSAGES.set(depth.dead, queue, "dead")
            metrics.QUEUE_MESSAGES.set(depth.buried, queue, "buried")

    return measure


async def _measure_batches(records: Records, now: float) -> None:
    unfinished = [batch for batch in await records.batches_at_work("", now) if not batch.state.is_final]
    by_state = Counter(batch.state for batch in unfinished)
    for batch_state in (state for state in BatchState if not state.is_final):
        metrics.BATCHES.set(by_state[batch_state], batch_state.name)
    for state in State:
        metrics.ITEMS.set(sum(batch.counts[state] for batch in unfinished), state.name)


def _age(since: float | None, now: float) -> float:
    return max(now - since, 0.0) if since is not None else 0.0

"""The reads, in SQL that every dialect shares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    ScalarSelect,
    Select,
    TextClause,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
    text,
    true,
    tuple_,
)

from imagemill.adapters.sql.connection import NO_PARAMETERS
from imagemill.adapters.sql.rows import COUNTS, batch_from, item_from
from imagemill.adapters.sql.schema import (
    IN_FLIGHT,
    PENDING,
    SUCCEEDED,
    UNSUCCESSFUL,
    UNSWEPT,
    batches,
    claims,
    items,
)
from imagemill.domain.batches import Batch, BatchState
from imagemill.domain.figures import Figures, HostFigures, Hosts
from imagemill.domain.items import IN_FLIGHT_STATES, ItemRow, State
from imagemill.ports.records import Backlog, Prospect, Tally, Waits

Chunk = Sequence[Row[*tuple[Any, ...]]]
Reading = tuple[Select[Any], Callable[[Chunk], None]]
"""A query, and who takes its rows."""
CHUNK = 1_000
"""Rows in memory at once where all of a batch's are read."""

_FIGURES = (
    items.c.state, items.c.attempt, items.c.claims, items.c.tries, items.c.duplicate_of, items.c.error_code,
    func.coalesce(items.c.http_status, items.c.original_status), items.c.size_bytes, items.c.format, items.c.width,
    items.c.height, items.c.rendered_bytes, items.c.cpu_ms, items.c.download_ms, items.c.decode_ms, items.c.resize_ms,
    items.c.encode_ms, items.c.store_ms,
)  # fmt: skip
"""What `Figures.add` takes, in its order."""


def _first_due(condition: TextClause) -> ScalarSelect[float]:
    """When the first item of a batch on a condition is due: one step into an index."""
    return select(func.min(items.c.due_at)).where(items.c.batch_id == batches.c.id, condition).scalar_subquery()


def _number(*states: State) -> ColumnElement[int]:
    """How many items of a batch are in one of these states, by its counters."""
    columns = [batches.c[name] for state, name in COUNTS if state in states]
    return reduce(add, columns)


# Built once: asked many times a second, their making would cost more than their answers.
_ONE_BATCH = select(batches).where(batches.c.id == bindparam("id"))
_CLAIM = select(claims.c.token).where(claims.c.token == bindparam("token"))
_PROSPECTS = (
    select(
        batches.c.id, batches.c.priority, _number(State.PENDING), _number(*IN_FLIGHT_STATES),
        _number(State.DOWNLOADED, State.PROCESSING), batches.c.dispatched,
        case((batches.c.started_at.is_(None), 0.0), else_=batches.c.changed_at),
        _first_due(PENDING), _first_due(IN_FLIGHT),
    ).where(batches.c.state == BatchState.ACTIVE.value).order_by(batches.c.created_at)
)  # fmt: skip


class SqlView(ABC):
    """See `ports.records.View`; how rows are fetched is each dialect's own."""

    async def batch(self, batch_id: str) -> Batch | None:
        """One batch."""
        found = await self._rows(_ONE_BATCH, {"id": batch_id})
        return _batch(found[0]) if found else None

    async def batches(self, client_id: str, before: tuple[float, str] | None, limit: int) -> list[Batch]:
        """Batches, newest first."""
        query = select(batches).order_by(batches.c.created_at.desc(), batches.c.id.desc()).limit(limit)
        if client_id:
            query = query.where(batches.c.client_id == client_id)
        if before:
            query = query.where(tuple_(batches.c.created_at, batches.c.id) < before)
        return await self._batches(query)

    async def batches_at_work(self, client_id: str, ended_since: float) -> list[Batch]:
        """Batches without an end, and those whose end is not before a moment: both by the index of ends."""
        ended = batches.c.finished_at
        query = select(batches).where(or_(ended.is_(None), ended >= ended_since))
        if client_id:
            query = query.where(batches.c.client_id == client_id)
        # Sorted here: asked for an order, SQLite reads the whole index of that order.
        return sorted(await self._batches(query), key=lambda batch: (batch.created_at, batch.id), reverse=True)

    async def unswept_batches(self, limit: int) -> list[Batch]:
        """Final batches that are not swept."""
        # By their ends, which only final ones have: asked for states, SQLite reads all that were ever in one.
        ended = batches.c.finished_at >= 0
        return await self._batches(select(batches).where(ended, UNSWEPT).order_by(batches.c.finished_at).limit(limit))

    async def items(
        self, batch_id: str, after: int, limit: int, states: Collection[State] = (), codes: Collection[str] = ()
    ) -> list[ItemRow]:
        """Items by index; those that ended without pictures by an index of their own, which has nothing else."""
        query = select(items).where(items.c.batch_id == batch_id, items.c.idx > after).order_by(items.c.idx)
        if codes:
            query = query.where(items.c.error_code.in_(codes))
        if codes or (states and min(state.value for state in states) > State.SUCCEEDED.value):
            query = query.where(UNSUCCESSFUL)
        return await self._items(_only(query, states).limit(limit))

    async def changed_items(
        self, batch_id: str, after_revision: int, up_to: int, limit: int, states: Collection[State] = ()
    ) -> list[ItemRow]:
        """Items by revision."""
        query = (
            select(items)
            .where(items.c.batch_id == batch_id, items.c.revision > after_revision, items.c.revision <= up_to)
            .order_by(items.c.revision)
        )
        return await self._items(_only(query, states).limit(limit))

    async def twin(self, batch_id: str, sha256: str) -> ItemRow | None:
        """The first succeeded item with these bytes."""
        query = select(items).where(items.c.batch_id == batch_id, items.c.sha256 == sha256, SUCCEEDED)
        found = await self._items(query.order_by(items.c.idx).limit(1))
        return found[0] if found else None

    async def backlog(self, now: float, limit: int) -> Backlog:
        """What wants work now: what is due of ACTIVE batches, and what is in flight; that of PAUSED ones goes on."""
        active, paused = BatchState.ACTIVE.value, BatchState.PAUSED.value
        due = await self._rows(_wanting((active,), PENDING, items.c.due_at <= now, limit))
        in_flight = await self._rows(_wanting((active, paused), IN_FLIGHT, true(), limit))
        to_render, rendering = (int(rows[0][1]) for rows in (due, in_flight))
        return Backlog(due[0][0] - to_render, to_render, in_flight[0][0] - rendering, rendering)

    async def prospects(self) -> list[Prospect]:
        """What there is to claim: each ACTIVE batch's counters, and the first entry of its two indexes of items."""
        return [Prospect(*row) for row in await self._rows(_PROSPECTS)]

    async def is_claim(self, token: str) -> bool:
        """Whether a claim of this token is remembered."""
        return bool(await self._rows(_CLAIM, {"token": token}))

    async def waits(self, now: float) -> Waits:
        """What has waited longest: the first entry of each batch's index of waiting items, and the oldest claim."""
        due = select(_first_due(PENDING), batches.c.created_at).where(batches.c.state == BatchState.ACTIVE.value)
        # New items are due from the beginning of time.
        found = [(row[0], max(row)) for row in await self._rows(due) if row[0] is not None]
        since = [began for due_at, began in found if due_at <= now]
        at_work = (BatchState.ACTIVE.value, BatchState.PAUSED.value)
        held = batches.join(items, items.c.batch_id == batches.c.id).join(claims, claims.c.token == items.c.claim_token)
        claimed = await self._rows(
            select(func.min(claims.c.claimed_at))
            .select_from(held)
            .where(batches.c.state.in_(at_work), text(f"items.{IN_FLIGHT}"))
        )
        return Waits(min(since, default=None), claimed[0][0])

    async def tally(self, batch_id: str) -> Tally | None:
        """A batch in figures, in two passes over its rows: one by one, and grouped by host."""
        found: list[Batch] = []
        figures, hosts = Figures(), Hosts()

        def count(rows: Chunk) -> None:
            for row in rows:
                figures.add(*row)

        await self._read_through(
            (select(batches).where(batches.c.id == batch_id), lambda rows: found.extend(map(_batch, rows))),
            (_figures_of(batch_id), count),
            (_hosts_of(batch_id), lambda rows: hosts.add([_host_figures(row) for row in rows])),
        )
        return Tally(found[0], figures, hosts) if found else None

    async def _batches(self, query: Select[Any]) -> list[Batch]:
        return [_batch(row) for row in await self._rows(query)]

    async def _items(self, query: Select[Any]) -> list[ItemRow]:
        return [item_from(row._mapping) for row in await self._rows(query)]

    @abstractmethod
    async def _rows(self, query: Select[Any], parameters: Mapping[str, Any] = NO_PARAMETERS) -> Chunk:
        """All rows of a query. Raises `RecordsUnavailable`."""

    @abstractmethod
    async def _read_through(self, *readings: Reading) -> None:
        """Hand the rows of each query in chunks to its taker, all as of one moment. Raises `RecordsUnavailable`."""


def _only(query: Select[Any], states: Collection[State]) -> Select[Any]:
    return query.where(items.c.state.in_([state.value for state in states])) if states else query


def _wanting(states: Collection[int], condition: TextClause, due: ColumnElement[bool], limit: int) -> Select[Any]:
    """The number of items on a condition, up to `limit`, and how many of these need no download."""
    is_stored = or_(items.c.original_key.is_not(None), items.c.state >= State.DOWNLOADED.value)
    found = (
        select(case((is_stored, 1), else_=0).label("stored"))
        .select_from(batches.join(items, items.c.batch_id == batches.c.id))
        .where(batches.c.state.in_(states), text(f"items.{condition}"), due)
        .limit(limit)
        .subquery()
    )
    columns = (func.count(), func.coalesce(func.sum(found.c.stored), 0))
    return select(*columns).select_from(found)


def _figures_of(batch_id: str) -> Select[Any]:
    return select(*_FIGURES).where(_final_items(batch_id))


def _hosts_of(batch_id: str) -> Select[Any]:
    failed = func.sum(case((items.c.state == State.FAILED.value, 1), else_=0))
    download_ms = func.avg(case((items.c.state == State.SUCCEEDED.value, items.c.download_ms)))
    columns = (items.c.host, func.count(), failed, func.coalesce(func.sum(items.c.size_bytes), 0), download_ms)
    return select(*columns).where(_final_items(batch_id), items.c.host != "").group_by(items.c.host)


def _final_items(batch_id: str) -> ColumnElement[bool]:
    # In the order of the rows: an index of some of them would lead SQLite to read them in no order at all, a minute
    # for a million.
    return and_(items.c.batch_id == batch_id, items.c.idx >= 0, items.c.state >= State.SUCCEEDED.value)


def _host_figures(row: Row[*tuple[Any, ...]]) -> HostFigures:
    host, number, failed, size_bytes, download_ms = row
    return HostFigures(host, number, int(failed), int(size_bytes), float(download_ms or 0.0))


def _batch(row: Row[*tuple[Any, ...]]) -> Batch:
    return batch_from(row._mapping)

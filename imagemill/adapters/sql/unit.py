"""A transaction that writes, in the wording that every dialect shares; the hot statements are each dialect's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import (
    Column,
    RowMapping,
    Select,
    TextClause,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    text,
    tuple_,
    update,
)

from imagemill.adapters.sql.connection import Connection
from imagemill.adapters.sql.rows import (
    batch_from,
    batch_values,
    head_from,
    original_from,
)
from imagemill.adapters.sql.schema import (
    IN_FLIGHT,
    PENDING,
    UNSUCCESSFUL,
    WITHOUT_PICTURES,
    batches,
    claims,
    epochs,
    items,
)
from imagemill.domain.batches import Batch, BatchState
from imagemill.domain.items import Head, State
from imagemill.ports.records import RELEASED, Claim, DueItem, FailedItem, Move, NewItem, Place, Twin

_WORKING = (BatchState.ACTIVE.value, BatchState.PAUSED.value, BatchState.CANCELLING.value)
_CLAIM_KEPT_S = 60.0
"""How long an empty claim is remembered, so that a repeat of its call finds it; in seconds."""
_EPOCH_KEPT_S = 86_400.0
"""How long an epoch that is over is known as such, in seconds: longer than anybody takes it for the present one."""
_ENTER = text(
    "INSERT INTO epochs (epoch, number, entered_at, asked_at, passed_until) "
    "SELECT :epoch, COALESCE(MAX(number), 0) + 1, :now, 0, 0 FROM epochs WHERE true "
    "ON CONFLICT (epoch) DO UPDATE SET number = excluded.number, entered_at = excluded.entered_at"
)
_DUE_COLUMNS = (
    items.c.idx, items.c.source, items.c.state, items.c.attempt, items.c.claims, items.c.sha256, items.c.size_bytes,
    items.c.format, items.c.width, items.c.height, items.c.mode, items.c.original_key, items.c.original_status,
    items.c.remarks, items.c.tries, items.c.download_ms, items.c.host, items.c.due_at,
)  # fmt: skip
_HEAD_COLUMNS = (items.c.idx, items.c.state, items.c.attempt, items.c.claims, items.c.size_bytes)


def _due(condition: TextClause, *columns: Column[Any]) -> Select[Any]:
    return (
        select(*columns)
        .where(items.c.batch_id == bindparam("batch_id"), condition, items.c.due_at <= bindparam("now"))
        .order_by(items.c.due_at, items.c.idx)
    )


def _taken(query: Select[Any]) -> Select[Any]:
    return query.limit(bindparam("most")).with_for_update(skip_locked=True)


# Built once: making a statement of so many columns costs more than running it.
_DUE_WAITING, _DUE_IN_FLIGHT = _taken(_due(PENDING, *_DUE_COLUMNS)), _taken(_due(IN_FLIGHT, *_DUE_COLUMNS))
_DUE_OF = _taken(_due(PENDING, *_DUE_COLUMNS).where(items.c.idx.in_(bindparam("indexes", expanding=True))))
_DUE_HOSTS = (
    _due(PENDING, items.c.due_at, items.c.idx, items.c.host)
    .where(tuple_(items.c.due_at, items.c.idx) > tuple_(bindparam("after_due"), bindparam("after_index")))
    .limit(bindparam("most"))
)
_ASKED_HOSTS = (
    select(items.c.host, func.count().label("number"))
    .where(items.c.batch_id == bindparam("batch_id"), IN_FLIGHT, items.c.state <= State.DOWNLOADING.value)
    .group_by(items.c.host)
)
_WORKING_IDS = select(batches.c.id).where(batches.c.state.in_(_WORKING))
_IN_FLIGHT_COUNTS = [batches.c[f"n_{state.name.lower()}"] for state in State if state.is_in_flight]
_IN_FLIGHT_IDS = _WORKING_IDS.where(or_(*(count > 0 for count in _IN_FLIGHT_COUNTS)))
_CANCELLING_IDS = select(batches.c.id).where(batches.c.state == BatchState.CANCELLING.value)
_LOCKED_BATCHES = (
    select(batches).where(batches.c.id.in_(bindparam("ids", expanding=True))).order_by(batches.c.id).with_for_update()
)


class SqlUnit(ABC):
    """See `ports.records.Unit`; `connection` is inside a transaction that holds the write lock it needs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._seen: list[str] | None = None
        """The batches that were found first: whatever came later would be locked out of order."""

    async def insert_batch(self, batch: Batch) -> None:
        """Add a batch."""
        await self._connection.change(insert(batches).values(batch_values(batch)))

    async def batches(self, ids: Collection[str]) -> dict[str, Batch]:
        """The batches that exist, locked in the order of their ids."""
        if not ids:
            return {}
        rows = await self._connection.rows(_LOCKED_BATCHES, {"ids": sorted(ids)})
        return {row["id"]: batch_from(row) for row in rows}

    async def batch_of_request(self, request_id: str) -> Batch | None:
        """The batch that a request id opened."""
        rows = await self._connection.rows(select(batches).where(batches.c.request_id == request_id))
        return batch_from(rows[0]) if rows else None

    async def working_batches(self) -> list[Batch]:
        """Batches with work left, oldest first; locked in the order of their ids."""
        return await self._still_working(_WORKING_IDS)

    async def batches_in_flight(self) -> list[Batch]:
        """Those of them with items in flight."""
        return await self._still_working(_IN_FLIGHT_IDS)

    async def cancelling_batches(self) -> list[Batch]:
        """Batches that are being cancelled."""
        return await self._still_working(_CANCELLING_IDS)

    async def _still_working(self, ids: Select[Any]) -> list[Batch]:
        found = [row["id"] for row in await self._connection.rows(ids)]
        if self._seen is None:
            self._seen = found
        locked = await self.batches(set(found).intersection(self._seen))
        # Whoever held the lock may have ended a batch meanwhile.
        working = (batch for batch in locked.values() if batch.state.value in _WORKING)
        return sorted(working, key=lambda batch: batch.created_at)

    async def save_batch(self, batch: Batch) -> None:
        """Write what changes of a batch."""
        await self.save_batches([batch])

    @abstractmethod
    async def save_batches(self, batches: Collection[Batch]) -> None:
        """Write what changes of several batches."""

    @abstractmethod
    async def insert_items(self, batch_id: str, items: Sequence[NewItem], revision: int, now: float) -> set[int]:
        """Add items; the indexes that were new."""

    async def heads(self, batch_id: str, indexes: Collection[int]) -> dict[int, Head]:
        """The heads of the items that exist."""
        found = await self.heads_of([(batch_id, index) for index in indexes])
        return {index: head for (_, index), head in found.items()}

    @abstractmethod
    async def heads_of(self, keys: Collection[tuple[str, int]]) -> dict[tuple[str, int], Head]:
        """The heads of the items that exist, by batch id and index."""

    @abstractmethod
    async def move_items(self, moves: Sequence[Move]) -> None:
        """Write moves."""

    async def first_twins(self, batch_id: str, digests: Collection[str]) -> dict[str, list[int]]:
        """The lowest indexes, two at most, of succeeded items with each digest."""
        found = await self.first_twins_of([(batch_id, digest) for digest in digests])
        return {digest: lowest for (_, digest), lowest in found.items()}

    @abstractmethod
    async def first_twins_of(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], list[int]]:
        """The same by batch id and digest."""

    @abstractmethod
    async def twins(self, batch_id: str, digests: Collection[str]) -> list[Twin]:
        """The succeeded items with these digests, by digest and index."""

    @abstractmethod
    async def point_duplicates(self, batch_id: str, changes: Sequence[tuple[int, int | None, int]]) -> None:
        """Write (index, duplicate_of, revision)."""

    @abstractmethod
    async def claim(self, claim: Claim, batch_id: str, items: Sequence[tuple[int, Head, int]], now: float) -> None:
        """Write (index, head, revision) of claimed items."""

    async def due_items(self, batch_id: str, now: float, limit: int, *, in_flight: bool) -> list[DueItem]:
        """Due items; where rows can be locked, those that another claim is taking are passed over."""
        asked = {"batch_id": batch_id, "now": now, "most": limit}
        rows = await self._connection.rows(_DUE_IN_FLIGHT if in_flight else _DUE_WAITING, asked)
        return [_due_item(row) for row in rows]

    async def due_hosts(self, batch_id: str, now: float, after: Place, limit: int) -> list[tuple[Place, str]]:
        """The hosts of waiting items from behind a place on."""
        asked = {"batch_id": batch_id, "now": now, "after_due": after[0], "after_index": after[1], "most": limit}
        rows = await self._connection.rows(_DUE_HOSTS, asked)
        return [((row["due_at"], row["idx"]), row["host"]) for row in rows]

    async def due_items_of(self, batch_id: str, indexes: Collection[int], now: float) -> list[DueItem]:
        """Those of the items that wait and are due."""
        asked = {"batch_id": batch_id, "now": now, "indexes": sorted(indexes), "most": len(indexes)}
        return [_due_item(row) for row in await self._connection.rows(_DUE_OF, asked)]

    async def asked_hosts(self, batch_id: str) -> dict[str, int]:
        """How many items in flight each host has that are not downloaded yet."""
        rows = await self._connection.rows(_ASKED_HOSTS, {"batch_id": batch_id})
        return {row["host"]: row["number"] for row in rows}

    async def claimed(self, token: str) -> list[tuple[str, DueItem]]:
        """What a claim of this token holds."""
        if not await self._connection.rows(select(claims.c.token).where(claims.c.token == token)):
            return []
        held: list[tuple[str, DueItem]] = []
        # One query a batch: with all of them in one, SQLite reads every row of every batch.
        for batch in await self.batches_in_flight():
            mine = and_(items.c.batch_id == batch.id, IN_FLIGHT, items.c.claim_token == token)
            rows = await self._connection.rows(select(*_DUE_COLUMNS).where(mine).order_by(items.c.due_at))
            held += [(batch.id, _due_item(row)) for row in rows]
        return held

    async def confirm(self, token: str, now: float) -> None:
        """Record that a claim was published."""
        await self._connection.change(update(claims).where(claims.c.token == token).values(published_at=now))

    async def renew(self, token: str, lease_until: float, now: float) -> None:
        """Prolong a claim, published or not; what it holds was heard of by that."""
        for batch in await self.batches_in_flight():
            mine = and_(items.c.batch_id == batch.id, IN_FLIGHT, items.c.claim_token == token)
            await self._connection.change(update(items).where(mine).values(due_at=lease_until, heard_at=now))

    async def extend_leases(self, epoch: str, lease_until: float, now: float) -> None:
        """Prolong published claims of the epoch, and forget claims that hold nothing."""
        passed = select(epochs.c.passed_until).where(epochs.c.epoch == epoch).scalar_subquery()
        live = select(claims.c.token).where(claims.c.epoch == epoch, claims.c.published_at.is_not(None))
        held_tokens: set[str] = set()
        for batch in await self.batches_in_flight():
            held = and_(items.c.batch_id == batch.id, IN_FLIGHT)
            ahead = and_(
                held,
                items.c.claim_token.in_(live),
                items.c.heard_at >= func.coalesce(passed, 0.0),
                items.c.due_at > RELEASED,
            )
            statement = update(items).where(ahead).values(due_at=lease_until)
            await self._connection.change(statement, long=True)
            tokens = await self._connection.rows(select(items.c.claim_token).where(held).distinct(), long=True)
            held_tokens |= {row["claim_token"] for row in tokens}
        old = delete(claims).where(claims.c.claimed_at < now - _CLAIM_KEPT_S, claims.c.token.not_in(held_tokens))
        await self._connection.change(old, long=True)

    async def release(self, batch_id: str, *, epoch: str, other_epochs: bool) -> int:
        """Make items in flight due at once."""
        of_epoch = select(claims.c.token).where(claims.c.epoch == epoch)
        mine = items.c.claim_token.in_(of_epoch)
        held = and_(items.c.batch_id == batch_id, IN_FLIGHT, items.c.due_at > RELEASED)
        statement = update(items).where(held, ~mine if other_epochs else mine)
        # What is handed back was never tried, so it must not count towards the claims after which an item is given up.
        values = {"due_at": RELEASED} | ({} if other_epochs else {"claims": items.c.claims - 1})
        return await self._connection.change(statement.values(values), long=True)

    async def enter_epoch(self, epoch: str, now: float) -> None:
        """Make an epoch the present one, and forget those that are long over."""
        await self._connection.change(_ENTER.bindparams(epoch=epoch, now=now))
        later = epochs.alias()
        # An epoch is over since the next one was entered.
        kept_from = select(func.max(later.c.number)).where(later.c.entered_at < now - _EPOCH_KEPT_S)
        await self._connection.change(delete(epochs).where(epochs.c.number < kept_from.scalar_subquery()))

    async def epochs(self) -> list[str]:
        """The epochs that are known, the present one first."""
        query = select(epochs.c.epoch).order_by(epochs.c.number.desc(), epochs.c.epoch.desc())
        return [row["epoch"] for row in await self._connection.rows(query)]

    async def ask_for_marker(self, epoch: str, unheard_since: float, now: float) -> bool:
        """Book a marker when it is worth one, and none was since."""
        mine = and_(epochs.c.epoch == epoch, epochs.c.asked_at <= unheard_since)
        for row in await self._connection.rows(select(epochs.c.passed_until).where(mine)):
            for batch in await self.batches_in_flight():
                silent = and_(IN_FLIGHT, items.c.heard_at.between(row["passed_until"], unheard_since))
                held = and_(items.c.batch_id == batch.id, items.c.due_at > RELEASED)
                query = select(items.c.idx).where(held, silent).limit(1)
                if await self._connection.rows(query):
                    return await self._connection.change(update(epochs).where(mine).values(asked_at=now)) > 0
        return False

    async def pass_marker(self, epoch: str, heard_until: float) -> None:
        """Note how far the queues have moved; they don't move back."""
        further = and_(epochs.c.epoch == epoch, epochs.c.passed_until < heard_until)
        await self._connection.change(update(epochs).where(further).values(passed_until=heard_until))

    async def hear(self, batch_id: str, indexes: Collection[int], now: float) -> None:
        """Note that items in flight were heard of."""
        mine = and_(items.c.batch_id == batch_id, items.c.idx.in_(sorted(indexes)), IN_FLIGHT)
        await self._connection.change(update(items).where(mine).values(heard_at=now))

    async def stored(self, batch_id: str, indexes: Collection[int]) -> set[int]:
        """Those of the items whose originals are stored durably."""
        asked = and_(items.c.batch_id == batch_id, items.c.idx.in_(sorted(indexes)), items.c.original_key != "")
        return {row["idx"] for row in await self._connection.rows(select(items.c.idx).where(asked))}

    async def digests_in_flight(self, batch_id: str, digests: Collection[str]) -> set[str]:
        """Those of the digests that items in flight are known by."""
        return await self._digests(IN_FLIGHT, batch_id, digests)

    async def digests_without_pictures(self, batch_id: str, digests: Collection[str]) -> set[str]:
        """Those of the digests that items are known by which ended without pictures."""
        return await self._digests(WITHOUT_PICTURES, batch_id, digests)

    async def _digests(self, where: TextClause, batch_id: str, digests: Collection[str]) -> set[str]:
        sought = and_(items.c.batch_id == batch_id, where, items.c.sha256.in_(sorted(digests)))
        rows = await self._connection.rows(select(items.c.sha256).where(sought).distinct(), long=True)
        return {row["sha256"] for row in rows}

    async def failed_items(
        self, batch_id: str, after: int, limit: int, codes: Collection[str]
    ) -> dict[int, FailedItem]:
        """Failed items whose source names a host, by index."""
        failed = and_(items.c.batch_id == batch_id, items.c.idx > after, items.c.state == State.FAILED.value)
        sought = and_(failed, UNSUCCESSFUL, items.c.host != "")
        query = select(*_HEAD_COLUMNS, items.c.error_code).where(sought).order_by(items.c.idx).limit(limit)
        if codes:
            query = query.where(items.c.error_code.in_(codes))
        rows = await self._connection.rows(query, long=True)
        return {row["idx"]: FailedItem(head_from(row), row["size_bytes"] or 0, row["error_code"] or "") for row in rows}

    async def open_items(self, batch_id: str, limit: int) -> dict[int, tuple[Head, int]]:
        """Items not final, by index."""
        found: dict[int, tuple[Head, int]] = {}
        for condition in (IN_FLIGHT, PENDING):
            query = select(*_HEAD_COLUMNS).where(items.c.batch_id == batch_id, condition).limit(limit - len(found))
            rows = await self._connection.rows(query, long=True)
            found |= {row["idx"]: (head_from(row), row["size_bytes"] or 0) for row in rows}
        return found


def _due_item(row: RowMapping) -> DueItem:
    return DueItem(
        row["idx"], row["source"], head_from(row), original_from(row), row["download_ms"] or 0.0, row["host"],
        row["due_at"],
    )  # fmt: skip

"""The reads, in SQL that every dialect shares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, Select, func, select, tuple_

from imagemill.adapters.sql.rows import batch_from, item_from
from imagemill.adapters.sql.schema import SUCCEEDED, batches, items
from imagemill.domain.batches import Batch
from imagemill.domain.items import ItemRow, State
from imagemill.ports.records import Spread

# Figures over a whole batch read its rows in their order. The literal condition would lead SQLite to the index of
# digests, and from there to the rows in no order at all: a minute for a million.
_IN_ROW_ORDER = items.c.idx >= 0
_IS_SUCCEEDED = items.c.state == State.SUCCEEDED.value


class SqlView(ABC):
    """See `ports.records.View`; how rows are fetched is each dialect's own."""

    async def batch(self, batch_id: str) -> Batch | None:
        """One batch."""
        found = await self._batches(select(batches).where(batches.c.id == batch_id))
        return found[0] if found else None

    async def batches(self, client_id: str, before: tuple[float, str] | None, limit: int) -> list[Batch]:
        """Batches, newest first."""
        query = select(batches).order_by(batches.c.created_at.desc(), batches.c.id.desc()).limit(limit)
        if client_id:
            query = query.where(batches.c.client_id == client_id)
        if before:
            query = query.where(tuple_(batches.c.created_at, batches.c.id) < before)
        return await self._batches(query)

    async def items(
        self, batch_id: str, after: int, limit: int, states: Collection[State] = (), codes: Collection[str] = ()
    ) -> list[ItemRow]:
        """Items by index."""
        query = select(items).where(items.c.batch_id == batch_id, items.c.idx > after).order_by(items.c.idx)
        if codes:
            query = query.where(items.c.error_code.in_(codes))
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

    async def error_counts(self, batch_id: str) -> list[tuple[str, int]]:
        """Failed items by code, most frequent first."""
        number = func.count().label("number")
        query = (
            select(items.c.error_code, number)
            .where(items.c.batch_id == batch_id, _IN_ROW_ORDER, items.c.state == State.FAILED.value)
            .group_by(items.c.error_code)
            .order_by(number.desc(), items.c.error_code)
        )
        return [(row[0], row[1]) for row in await self._rows(query)]

    async def format_counts(self, batch_id: str) -> Mapping[str, int]:
        """Succeeded items by the original's format."""
        query = (
            select(items.c.format, func.count())
            .where(items.c.batch_id == batch_id, _IN_ROW_ORDER, _IS_SUCCEEDED)
            .group_by(items.c.format)
            .order_by(items.c.format)
        )
        return {row[0]: row[1] for row in await self._rows(query)}

    async def attempts_per_success(self, batch_id: str) -> float:
        """Mean attempts of succeeded items."""
        query = select(func.avg(items.c.attempt + 1))
        query = query.where(items.c.batch_id == batch_id, _IN_ROW_ORDER, _IS_SUCCEEDED)
        return float((await self._rows(query))[0][0] or 0.0)

    async def spread(self, batch_id: str, duration: str) -> Spread | None:
        """Percentiles of a duration, by nearest rank; the database sorts, so memory stays flat."""
        column = items.c[duration]
        succeeded = select(column.label("value"))
        succeeded = succeeded.where(items.c.batch_id == batch_id, _IN_ROW_ORDER, _IS_SUCCEEDED, column.is_not(None))
        total = (await self._rows(select(func.count()).select_from(succeeded.subquery())))[0][0]
        if not total:
            return None
        ranks = [max(-(-total * share // 100), 1) for share in (50, 90, 99, 100)]
        ranked = succeeded.add_columns(func.row_number().over(order_by=column).label("rank")).subquery()
        rows = await self._rows(select(ranked.c.rank, ranked.c.value).where(ranked.c.rank.in_(ranks)))
        by_rank = {row[0]: row[1] for row in rows}
        return Spread(*(by_rank[rank] for rank in ranks))

    async def _batches(self, query: Select[Any]) -> list[Batch]:
        return [batch_from(row._mapping) for row in await self._rows(query)]

    async def _items(self, query: Select[Any]) -> list[ItemRow]:
        return [item_from(row._mapping) for row in await self._rows(query)]

    @abstractmethod
    async def _rows(self, query: Select[Any]) -> Sequence[Row[*tuple[Any, ...]]]:
        """All rows of a query. Raises `RecordsUnavailable`."""


def _only(query: Select[Any], states: Collection[State]) -> Select[Any]:
    return query.where(items.c.state.in_([state.value for state in states])) if states else query

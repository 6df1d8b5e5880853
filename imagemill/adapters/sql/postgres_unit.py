"""The hot statements in PostgreSQL's wording: all rows of one in arrays, one round trip, one plan.

A statement a row costs 0.13 ms, arrays of fifty 0.013 ms a row. Whoever writes items of a batch holds the batch's row,
so that their own rows need no lock: a second lock would be a second write of each of them.

The server plans most of these while it knows nothing of the tables, and then takes one batch's rows for a handful. So
each statement leaves it one way only: a row is looked up by batch and index together, both of them from the same array
or in a subquery a row, and never found among all rows of its batch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Table, any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY

from imagemill.adapters.sql.rows import FACT_COLUMNS, PROGRESS_COLUMNS, batch_from, fact_values, progress_values
from imagemill.adapters.sql.schema import IN_FLIGHT, KEY, batches, items
from imagemill.adapters.sql.unit import SqlUnit
from imagemill.domain.batches import Batch
from imagemill.domain.items import Head, State
from imagemill.ports.records import Claim, Move, NewItem, Twin

_ARRAYS = {
    "TEXT": "text[]", "INTEGER": "integer[]", "BIGINT": "bigint[]", "DOUBLE": "float8[]", "BOOLEAN": "boolean[]"
}  # fmt: skip


def _unnested(columns: Sequence[str], first: int, table: Table = items) -> str:
    """Arrays, from the parameter of this number on, as a table of these columns."""
    types = [_ARRAYS[str(table.c[column].type)] for column in columns]
    arrays = ", ".join(f"${number}::{type_}" for number, type_ in enumerate(types, first))
    return f"unnest({arrays}) WITH ORDINALITY AS new({', '.join(columns)}, place)"


_NEW = ("idx", "source", "source_row", "host", "state", "finished_at", "error_code", "error_message")
# BETWEEN and ORDER BY leave only the primary key to look into. On an empty table any index looks as good, and another
# one would be searched through all the rows that this very statement has added.
_INSERT = f"""
    INSERT INTO items (batch_id, revision, {", ".join(_NEW)})
    SELECT $1, $2::bigint + row_number() OVER (ORDER BY new.place), {", ".join(f"new.{column}" for column in _NEW)}
    FROM {_unnested(_NEW, 3)}
    LEFT JOIN LATERAL (
        SELECT idx FROM items WHERE batch_id = $1 AND idx BETWEEN new.idx AND new.idx ORDER BY idx LIMIT 1
    ) AS old ON true
    WHERE old.idx IS NULL
    ON CONFLICT DO NOTHING
    RETURNING idx"""

_HEADS = """
    SELECT head.* FROM unnest($1::text[], $2::bigint[]) AS sought(batch_id, idx)
    CROSS JOIN LATERAL (
        SELECT batch_id, idx, state, attempt, claims FROM items
        WHERE batch_id = sought.batch_id AND idx = sought.idx LIMIT 1) AS head"""

_SAVED = ("id", *PROGRESS_COLUMNS)
_SAVE = f"""
    UPDATE batches SET {", ".join(f"{column} = new.{column}" for column in PROGRESS_COLUMNS)}
    FROM {_unnested(_SAVED, 1, batches)}
    WHERE batches.id = new.id"""

_HEAD = ("batch_id", "idx", "state", "attempt", "claims", "due_at", "heard_at", "revision", "finished_at")
# Work that goes on keeps the lease it has; work that is put back is due when it says.
_MOVE = f"""
    UPDATE items SET state = new.state, attempt = new.attempt, claims = new.claims, revision = new.revision,
        finished_at = new.finished_at, heard_at = GREATEST(items.heard_at, new.heard_at),
        due_at = CASE WHEN new.state BETWEEN {State.QUEUED.value} AND {State.PROCESSING.value}
            THEN GREATEST(items.due_at, new.due_at) ELSE new.due_at END%s
    FROM %s
    WHERE items.batch_id = new.batch_id AND items.idx = new.idx"""
_MOVE_PLAIN = _MOVE % ("", _unnested(_HEAD, 1))
_MOVE_WITH_FACTS = _MOVE % (
    "".join(f", {column} = new.{column}" for column in FACT_COLUMNS),
    _unnested((*_HEAD, *FACT_COLUMNS), 1),
)

_CLAIMED = ("batch_id", "idx", "state", "attempt", "claims", "revision")
_CLAIM = f"""
    UPDATE items SET state = new.state, attempt = new.attempt, claims = new.claims, revision = new.revision,
        due_at = $1, heard_at = $2, claim_token = $3
    FROM {_unnested(_CLAIMED, 4)}
    WHERE items.batch_id = new.batch_id AND items.idx = new.idx"""
_OPEN_CLAIM = "INSERT INTO claims (token, epoch, claimed_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"

_FIRST_TWINS = f"""
    SELECT sought.batch_id, sought.sha256, ARRAY(
        SELECT idx FROM items
        WHERE batch_id = sought.batch_id AND state = {State.SUCCEEDED.value} AND sha256 = sought.sha256
        ORDER BY idx LIMIT 2)
    FROM unnest($1::text[], $2::text[]) AS sought(batch_id, sha256)"""
_TWINS = f"""
    SELECT twin.* FROM unnest($2::text[]) AS sought(sha256)
    CROSS JOIN LATERAL (
        SELECT idx, sha256, duplicate_of FROM items
        WHERE batch_id = $1 AND state = {State.SUCCEEDED.value} AND sha256 = sought.sha256 OFFSET 0) AS twin
    ORDER BY twin.sha256, twin.idx"""

_POINTED = ("batch_id", "idx", "duplicate_of", "revision")
_POINT = f"""
    UPDATE items SET duplicate_of = new.duplicate_of, revision = new.revision
    FROM {_unnested(_POINTED, 1)}
    WHERE items.batch_id = new.batch_id AND items.idx = new.idx"""


_DIGESTS_IN_FLIGHT = f"""
    SELECT DISTINCT sha256 FROM items
    WHERE batch_id = $1 AND {IN_FLIGHT} AND sha256 = ANY($2::text[])"""

_LOCKED_BATCHES = (
    select(batches)
    .where(batches.c.id == any_(bindparam("ids", type_=ARRAY(KEY))))
    .order_by(batches.c.id)
    .with_for_update()
)


class PostgresUnit(SqlUnit):
    """See `ports.records.Unit`."""

    async def batches(self, ids: Collection[str]) -> dict[str, Batch]:
        """The batches that exist, locked in the order of their ids."""
        if not ids:
            return {}
        rows = await self._connection.rows(_LOCKED_BATCHES, {"ids": sorted(ids)})
        return {row["id"]: batch_from(row) for row in rows}

    async def insert_items(self, batch_id: str, items: Sequence[NewItem], revision: int, now: float) -> set[int]:
        """Add items; the indexes that were new."""
        rows = [_new_values(item, now) for item in items]
        inserted = await self._rows(_INSERT, batch_id, revision, *_columns(rows, len(_NEW)))
        return {row[0] for row in inserted}

    async def save_batches(self, batches: Collection[Batch]) -> None:
        """Write what changes of several batches, which are locked."""
        rows = [(batch.id, *progress_values(batch).values()) for batch in batches]
        await self._change(_SAVE, *_columns(rows, len(_SAVED)))

    async def heads_of(self, keys: Collection[tuple[str, int]]) -> dict[tuple[str, int], Head]:
        """The heads of the items that exist, by batch id and index."""
        rows = await self._rows(_HEADS, *_columns(keys, 2))
        return {(batch_id, index): Head(State(state), *rest) for batch_id, index, state, *rest in rows}

    async def move_items(self, moves: Sequence[Move]) -> None:
        """Write moves: those with facts and those without."""
        plain = [_head_values(move) for move in moves if move.facts is None]
        full = [(*_head_values(move), *fact_values(move.facts)) for move in moves if move.facts is not None]
        if plain:
            await self._change(_MOVE_PLAIN, *_columns(plain, len(_HEAD)))
        if full:
            await self._change(_MOVE_WITH_FACTS, *_columns(full, len(_HEAD) + len(FACT_COLUMNS)))

    async def first_twins_of(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], list[int]]:
        """The lowest indexes, two at most, of succeeded items with each digest: two steps into the index a digest."""
        rows = await self._rows(_FIRST_TWINS, *_columns(keys, 2))
        return {(batch_id, digest): lowest for batch_id, digest, lowest in rows if lowest}

    async def twins(self, batch_id: str, digests: Collection[str]) -> list[Twin]:
        """The succeeded items with these digests, by digest and index."""
        if not digests:
            return []
        return [Twin(*row) for row in await self._rows(_TWINS, batch_id, sorted(digests))]

    async def digests_in_flight(self, batch_id: str, digests: Collection[str]) -> set[str]:
        """Those of the digests that items in flight are known by."""
        return {digest for (digest,) in await self._rows(_DIGESTS_IN_FLIGHT, batch_id, sorted(digests))}

    async def point_duplicates(self, batch_id: str, changes: Sequence[tuple[int, int | None, int]]) -> None:
        """Write (index, duplicate_of, revision)."""
        if changes:
            rows = [(batch_id, *change) for change in changes]
            await self._change(_POINT, *_columns(rows, len(_POINTED)))

    async def claim(self, claim: Claim, batch_id: str, items: Sequence[tuple[int, Head, int]], now: float) -> None:
        """Write (index, head, revision) of claimed items."""
        await self._change(_OPEN_CLAIM, claim.token, claim.epoch, now)
        rows = [
            (batch_id, index, head.state.value, head.attempt, head.claims, revision) for index, head, revision in items
        ]
        await self._change(_CLAIM, claim.lease_until, now, claim.token, *_columns(rows, len(_CLAIMED)))

    async def _rows(self, statement: str, *parameters: object) -> Sequence[Any]:
        return await self._connection.driver_rows(statement, parameters)

    async def _change(self, statement: str, *parameters: object) -> None:
        await self._connection.driver_change(statement, [parameters])


def _columns(rows: Iterable[Sequence[Any]], number: int) -> Sequence[Sequence[Any]]:
    """Rows turned into columns, as many as there would be if there were no rows."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(number)]


def _new_values(item: NewItem, now: float) -> tuple[Any, ...]:
    failure = item.failure
    return (
        item.index, item.source, item.source_row, item.host, item.state.value, now if item.state.is_final else None,
        failure.code.value if failure else None, failure.message if failure else None,
    )  # fmt: skip


def _head_values(move: Move) -> tuple[Any, ...]:
    head = move.head
    return (
        move.batch_id, move.index, head.state.value, head.attempt, head.claims, move.due_at, move.heard_at,
        move.revision, move.finished_at,
    )  # fmt: skip

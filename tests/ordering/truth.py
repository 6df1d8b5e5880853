"""The truth, simply: what each item must come to whatever happens, and what must hold after every commit."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imagemill.adapters.sql.schema import COUNT_COLUMNS
from imagemill.domain.batches import BatchState
from imagemill.domain.failures import FailureCode
from imagemill.domain.items import MAX_CLAIMS, State
from tests.ordering.schedules import Item
from tests.support.builders import digest

RETRIES = 3


@dataclass(frozen=True, slots=True)
class End:
    """What an item comes to."""

    state: State
    attempt: int
    error_code: str | None
    sha256: str | None


def end_of(item: Item) -> End:
    """What an item comes to, if nobody gives it up."""
    tries = item.bad_downloads if item.gone else item.bad_downloads + item.bad_renders
    if item.bad_downloads > RETRIES:
        return End(State.FAILED, RETRIES, FailureCode.CONNECTION_FAILED, None)
    if item.gone:
        return End(State.FAILED, tries, FailureCode.SOURCE_NOT_FOUND, None)
    sha256 = digest(item.content)
    if tries > RETRIES:
        return End(State.FAILED, RETRIES, FailureCode.RENDER_CRASHED, sha256)
    if item.broken:
        return End(State.FAILED, tries, FailureCode.DECODE_FAILED, sha256)
    return End(State.SUCCEEDED, tries, None, sha256)


@dataclass(frozen=True, slots=True)
class Row:
    """An item as it is committed."""

    index: int
    state: State
    attempt: int
    claims: int
    revision: int
    duplicate_of: int | None
    sha256: str | None
    error_code: str | None
    size_bytes: int | None
    finished_at: float | None

    @property
    def end(self) -> End:
        return End(self.state, self.attempt, self.error_code, self.sha256)


_ROWS = (
    "SELECT idx, state, attempt, claims, revision, duplicate_of, sha256, error_code, size_bytes, finished_at "
    "FROM items WHERE batch_id='b' ORDER BY idx"
)
_BATCH = f"SELECT state, revision, downloaded_bytes, duplicates, {', '.join(COUNT_COLUMNS)} FROM batches WHERE id='b'"


class Truth:
    """Looks at the rows after every commit, by a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path)
        self.begin()

    def begin(self) -> None:
        """Forget what was."""
        self.rows: dict[int, Row] = {}
        self.revision = 0
        self.state = BatchState.RECEIVING
        self.granted: set[tuple[int, int, int]] = set()
        """Index, attempt and claim of everything that was ever in flight."""

    def close(self) -> None:
        self._connection.close()

    def look(self) -> None:
        """Check what has been committed since the last look."""
        batch = self._connection.execute(_BATCH).fetchone()
        if batch is None:
            return
        state, revision, downloaded_bytes, duplicates, *counts = batch
        rows = {row[0]: Row(row[0], State(row[1]), *row[2:]) for row in self._connection.execute(_ROWS)}
        by_state = Counter(row.state for row in rows.values())
        assert counts == [by_state[each] for each in State], "counters equal rows"
        final = [row for row in rows.values() if row.state.is_final]
        assert downloaded_bytes == sum(row.size_bytes or 0 for row in final), "bytes are counted once"
        assert duplicates == sum(row.duplicate_of is not None for row in rows.values()), "duplicates are counted once"
        assert revision >= self.revision, "revisions grow"
        self._check_revisions(rows, revision)
        for index, row in rows.items():
            if index in self.rows:
                _check_move(self.rows[index], row, self.revision)
            if row.state.is_in_flight:
                self.granted.add((index, row.attempt, row.claims))
        _check_duplicates(rows)
        self.rows, self.revision, self.state = rows, revision, BatchState(state)
        assert self.state.is_final <= (len(final) == len(rows)), "a batch ends with its last item"

    def _check_revisions(self, rows: dict[int, Row], revision: int) -> None:
        revisions = [row.revision for row in rows.values()]
        assert len(set(revisions)) == len(revisions), "a revision is one item's"
        assert max(revisions, default=0) <= revision, "no item is ahead of its batch"

    def check_ends(self, items: Sequence[Item], *, cancelled: bool) -> None:
        """Check what everything has come to."""
        assert self.state is (BatchState.CANCELLED if cancelled else BatchState.COMPLETED), "the batch has ended"
        for index, item in enumerate(items):
            row, due = self.rows[index], end_of(item)
            if cancelled and row.state is State.CANCELLED:
                continue
            if row.claims >= MAX_CLAIMS and row.error_code == FailureCode.ABANDONED:
                continue
            assert row.end == due, f"item {index} is {row.end}, and was to be {due}"


def _check_move(before: Row, after: Row, revision: int) -> None:
    if before == after:
        return
    if before.revision == after.revision:
        assert before.end == after.end, "what a watcher sees has a new revision"
        assert before.duplicate_of == after.duplicate_of, "what a watcher sees has a new revision"
        return
    assert after.revision > revision, "a change has a revision above all before"
    assert after.attempt >= before.attempt, "attempts don't go back"
    assert after.attempt <= RETRIES, "attempts keep to the policy"
    assert before.end == after.end or not before.state.is_final, "an item is final once"
    assert (after.finished_at is not None) == after.state.is_final, "what is final has an end"
    if after.attempt == before.attempt and after.state is not State.PENDING:
        assert after.state >= before.state, "within an attempt nothing moves back"


def _check_duplicates(rows: dict[int, Row]) -> None:
    first: dict[str, int] = {}
    for index, row in sorted(rows.items()):
        if row.state is State.SUCCEEDED and row.sha256 is not None:
            lowest = first.setdefault(row.sha256, index)
            assert row.duplicate_of == (lowest if lowest != index else None), "duplicates point to the first"
        else:
            assert row.duplicate_of is None, "only what succeeded is a duplicate"

"""How SQLite finds the items of a batch: never by the batch alone, which would read all of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from imagemill.adapters.sql.sqlite import SqliteRecords, open_sqlite
from imagemill.domain.items import State
from imagemill.ports.records import Records, Unit
from tests.support.builders import claim_rows, digest, new_batch, new_items, put_batch

NOW = 1000.0
WHOLE = ("(batch_id=?)", "SCAN items")
"""What the plan of a statement says that reads every item of a batch, or of the table."""


async def ask_everything(records: Records) -> None:
    """Ask for what a mill and its onlookers ask for; what goes by the keys of rows is left out."""
    async with records.write() as unit:
        await ask_in_unit(unit)
    await records.prospects()
    await records.backlog(NOW, 1000)
    await records.waits(NOW)
    await records.items("b", 5, 10)
    await records.items("b", 5, 10, [State.FAILED], ["TIMEOUT"])
    await records.changed_items("b", 0, 10, 10, [State.FAILED])
    await records.twin("b", digest(1))


async def ask_in_unit(unit: Unit) -> None:
    for in_flight in (True, False):
        await unit.due_items("b", NOW, 10, in_flight=in_flight)
    await unit.due_hosts("b", NOW, (-1.0, -1), 10)
    await unit.due_items_of("b", [1, 2], NOW)
    await unit.asked_hosts("b")
    await unit.claimed("t")
    await unit.renew("t", NOW, NOW)
    await unit.extend_leases("e", NOW, NOW)
    await unit.release("b", epoch="e", other_epochs=True)
    await unit.enter_epoch("e", NOW)
    await unit.ask_for_marker("e", NOW, NOW)
    await unit.hear("b", [1], NOW)
    await unit.stored("b", [1])
    await unit.heads("b", [1])
    await unit.twins("b", [digest(1)])
    await unit.first_twins("b", [digest(1)])
    await unit.digests_in_flight("b", [digest(1)])
    await unit.digests_without_pictures("b", [digest(1)])
    await unit.failed_items("b", -1, 10, ["TIMEOUT"])
    await unit.open_items("b", 10)


@contextmanager
def statements_of(records: SqliteRecords, table: str) -> Iterator[dict[str, Any]]:
    """Note each statement about a table, and parameters that it ran with."""
    heard: dict[str, Any] = {}

    def hear(_: object, __: object, statement: str, parameters: Any, ___: object, many: bool) -> None:
        if table in statement and not statement.startswith("INSERT"):
            heard[statement] = parameters[0] if many else parameters

    engines: list[Engine] = [records._writer._engine, records._readers._engine]
    for engine in engines:
        event.listen(engine, "before_cursor_execute", hear)
    yield heard
    for engine in engines:
        event.remove(engine, "before_cursor_execute", hear)


async def ask_what_failed(records: Records) -> None:
    async with records.write() as unit:
        await unit.failed_items("b", 5, 10, [])
        await unit.failed_items("b", 5, 10, ["TIMEOUT"])
    await records.items("b", 5, 10, [State.FAILED])
    await records.items("b", 5, 10, [State.CANCELLED, State.FAILED, State.SKIPPED])
    await records.items("b", 5, 10, [State.FAILED], ["TIMEOUT"])
    await records.items("b", 5, 10, [], ["TIMEOUT"])


async def test_no_statement_finds_items_by_their_batch_alone(tmp_path: Path) -> None:
    plans = await plans_of(tmp_path, ask_everything)

    assert len(plans) > 20
    assert {statement: found for statement, found in plans.items() if any(word in found for word in WHOLE)} == {}


async def test_what_failed_is_found_among_what_ended_without_pictures(tmp_path: Path) -> None:
    plans = await plans_of(tmp_path, ask_what_failed)

    assert len(plans) == 6
    assert {statement: found for statement, found in plans.items() if "items_unsuccessful" not in found} == {}


async def test_batches_to_be_swept_are_found_among_those(tmp_path: Path) -> None:
    (found,) = (await plans_of(tmp_path, lambda records: records.unswept_batches(10), "batches")).values()

    assert "batches_unswept" in found


async def plans_of(folder: Path, ask: Callable[[Records], Awaitable[object]], table: str = "items") -> dict[str, str]:
    """What SQLite means to do for each statement about a table that it is asked while a batch is at work."""
    path = folder / "mill.db"
    records = await open_sqlite(path)
    try:
        await put_batch(records, new_batch(), new_items(range(50)))
        await claim_rows(records, range(20), token="t")
        with statements_of(records, table) as heard:
            await ask(records)
        return {statement: plan(path, statement, parameters) for statement, parameters in heard.items()}
    finally:
        await records.close()


def plan(path: Path, statement: str, parameters: Any) -> str:
    """What a connection means to do that has read of the tables; one that has made them may mean something else."""
    with closing(sqlite3.connect(path)) as connection:
        steps = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
    return "\n".join(step[3] for step in steps)

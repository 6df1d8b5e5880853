"""The steps between revisions of the tables on both kinds of database: from nothing, and from every revision."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, text

from imagemill.adapters.sql import postgres
from imagemill.adapters.sql.migration import FOLDER, upgrade
from imagemill.adapters.sql.revisions import COMPATIBLE_FROM, REVISION, SchemaUnknown, Tables, revision_of
from imagemill.adapters.sql.schema import IN_FLIGHT, PENDING, SUCCEEDED, UNSUCCESSFUL, WITHOUT_PICTURES, metadata
from imagemill.domain.items import Head, State
from imagemill.ports.records import Records, RecordsUnavailable
from imagemill.wiring.records import migrate_records, open_records, tables_at
from tests.support.builders import batch_of, move, new_batch, new_items, put_batch, rows_of, success
from tests.support.newer_tables import ADDITIONS, NEWER, STEP, run_statements, shapes_of, what_breaks
from tests.support.postgres_node import own_schema, run_apart

STEPS = [*ScriptDirectory(str(FOLDER)).walk_revisions()][::-1]
REVISIONS = [step.revision for step in STEPS]
FIRST_THAT_SAYS = "0007"
"""The first step that says which versions can work on its tables."""
OLD_ROWS = """
    INSERT INTO batches (id, client_id, state, display_name, labels, recipe, recipe_fingerprint, priority,
        keep_originals, revision, n_pending, n_queued, n_downloading, n_downloaded, n_processing, n_succeeded,
        n_failed, n_skipped, n_cancelled, downloaded_bytes, duplicates, created_at, active_s, changed_at)
    VALUES ('b', '', 2, '', '{}', '{}', '', 10, FALSE, 3, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1000, 0, 0, 0, 0);
    INSERT INTO items (batch_id, idx, source, source_row, host, state, revision)
    VALUES ('b', 0, 'http://pictures.test/0.jpg', 1, 'pictures.test', 1, 2);
    INSERT INTO items (batch_id, idx, source, source_row, host, state, revision, sha256, size_bytes, format, width,
        height, mode, original_status, download_ms, decode_ms, resize_ms, encode_ms, store_ms)
    VALUES ('b', 1, 'http://pictures.test/1.jpg', 2, 'pictures.test', 6, 3, 'd', 1000, 'jpeg', 4,
        3, 'RGB', 200, 1, 2, 3, 4, 5);
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/mill.db"
    else:
        with own_schema(request.getfixturevalue("postgres_server")) as own:
            yield own


def on(url: str, act: Callable[[Connection], Any]) -> Any:
    """The result of a function of a connection, in a transaction of its own."""
    if url.startswith("sqlite"):
        engine = create_engine(url)
        try:
            with engine.begin() as connection:
                return act(connection)
        finally:
            engine.dispose()

    async def act_there() -> Any:
        engine = postgres._engine(url, 1, {}, "READ COMMITTED", None)
        try:
            async with engine.begin() as opened:
                return await opened.run_sync(act)
        finally:
            await engine.dispose()

    return run_apart(act_there())


def script(statements: str) -> Callable[[Connection], None]:
    def run(connection: Connection) -> None:
        for statement in statements.split(";")[:-1]:
            connection.execute(text(statement))

    return run


def differences(connection: Connection) -> list[Any]:
    """What the tables have that the code does not know, and the reverse."""
    return list(compare_metadata(MigrationContext.configure(connection), metadata))


async def assert_works(records: Records, *, tries: int = 1) -> None:
    """The rows of the first mills are there, with so many `tries`, and the whole of an item can be written and read."""
    old = {row.index: row for row in await rows_of(records)}
    assert [old[0].head.state, old[1].head.state] == [State.PENDING, State.SUCCEEDED]
    assert old[1].facts.original is not None
    assert (old[1].facts.original.sha256, old[1].facts.original.tries) == ("d", tries or None)
    assert (await batch_of(records)).keep_undecodable is False

    await put_batch(records, new_batch("new"), new_items([0]))
    facts = success(1)
    async with records.write() as unit:
        await unit.move_items([move(0, Head(State.SUCCEEDED, 0, 1), 4, facts=facts)])
    assert (await rows_of(records))[0].facts == facts


def test_the_newest_revision_is_the_one_that_the_code_needs() -> None:
    assert REVISIONS[-1] == REVISION
    assert sorted(REVISIONS) == REVISIONS


async def test_an_empty_database_gets_the_tables_that_the_code_knows(url: str) -> None:
    first, again = await migrate_records(url), await migrate_records(url)

    assert (first.before, first.tables.revision, again.before) == (None, REVISION, REVISION)
    assert on(url, differences) == []


@pytest.mark.parametrize("revision", REVISIONS)
async def test_every_revision_is_brought_to_the_newest_with_its_rows(url: str, revision: str) -> None:
    on(url, lambda connection: upgrade(connection, REVISIONS[0]))
    on(url, script(OLD_ROWS))
    on(url, lambda connection: upgrade(connection, revision))

    migrated = await migrate_records(url)

    assert migrated.before == revision
    assert on(url, differences) == []
    records = await open_records(url)
    try:
        await assert_works(records)
    finally:
        await records.close()


async def test_a_file_of_the_first_mills_is_taken_up_when_it_is_opened(tmp_path: Path) -> None:
    """They kept their version in a table of their own."""
    url = f"sqlite:///{tmp_path}/mill.db"
    on(url, lambda connection: upgrade(connection, REVISIONS[0]))
    on(url, script(OLD_ROWS + "INSERT INTO meta VALUES ('schema', '1'); DROP TABLE alembic_version;"))

    records = await open_records(url)
    try:
        await assert_works(records)
    finally:
        await records.close()
    assert on(url, differences) == []


async def test_a_new_file_has_the_same_tables_as_one_that_was_migrated(tmp_path: Path) -> None:
    new, migrated = f"sqlite:///{tmp_path}/new.db", f"sqlite:///{tmp_path}/migrated.db"
    await migrate_records(new)
    on(migrated, lambda connection: upgrade(connection))

    assert on(new, tables_of) == on(migrated, tables_of)


def tables_of(connection: Connection) -> Any:
    """Columns with types, defaults and keys, whatever their order, and the wording of every index."""
    found = inspect(connection)
    columns = {
        (table, each["name"]): (str(each["type"]), each["nullable"], each["default"])
        for table in found.get_table_names()
        for each in found.get_columns(table)
    }
    indexes = set(connection.scalars(text("SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")))
    return columns, indexes, {table: found.get_pk_constraint(table)["constrained_columns"] for table, _ in columns}


async def test_on_a_server_the_partial_indexes_hold_what_the_queries_ask_for(postgres_schema: str) -> None:
    def indexes(connection: Connection) -> dict[str, str]:
        query = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()"
        return {name: definition for name, definition in connection.execute(text(query))}

    def plan(asked: str) -> Callable[[Connection], str]:
        def explain(connection: Connection) -> str:
            connection.execute(text("SET LOCAL enable_seqscan = off"))
            return "\n".join(connection.scalars(text(f"EXPLAIN SELECT FROM items WHERE batch_id = 'b' AND {asked}")))

        return explain

    found = on(postgres_schema, indexes)
    for name, condition, column in (
        ("items_pending", PENDING, "due_at"),
        ("items_in_flight", IN_FLIGHT, "due_at"),
        ("items_by_digest", SUCCEEDED, "sha256"),
        ("items_without_pictures", WITHOUT_PICTURES, "sha256"),
        ("items_unsuccessful", UNSUCCESSFUL, "idx"),
    ):
        assert " WHERE " in found[name]
        assert name in on(postgres_schema, plan(f"{condition.text} AND {column} IN ('1', '2')"))


@pytest.mark.parametrize("said", [[], [("9999", "9998")], [("0007", "0007"), ("9998", "0007")]])
async def test_newer_tables_that_do_not_vouch_for_this_version_are_left_alone(
    url: str, said: list[tuple[str, str]]
) -> None:
    await migrate_records(url)
    rows = "".join(f"INSERT INTO compatibility VALUES ('{row[0]}', '{row[1]}');" for row in said)
    run_statements(url, "DELETE FROM compatibility; UPDATE alembic_version SET version_num = '9999';" + rows)

    for act in (open_records, migrate_records, tables_at):
        with pytest.raises(SchemaUnknown, match=r"revision 9999, which is newer .* use a newer Imagemill"):
            await act(url)


async def test_newer_tables_without_a_word_on_compatibility_are_left_alone(url: str) -> None:
    await migrate_records(url)
    run_statements(url, "DROP TABLE compatibility; UPDATE alembic_version SET version_num = '9999';")

    with pytest.raises(SchemaUnknown, match="use a newer Imagemill"):
        await open_records(url)


async def test_newer_tables_that_vouch_for_this_version_are_worked_on_and_left_as_they_are(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await migrate_records(url)
    run_statements(url, OLD_ROWS + STEP)
    before = on(url, shapes_of)

    migrated, tables = await migrate_records(url), await tables_at(url)
    with caplog.at_level(logging.INFO, logger="imagemill"):
        records = await open_records(url)
    try:
        await assert_works(records, tries=0)
        await records.check()
    finally:
        await records.close()

    assert (migrated.before, migrated.tables, tables) == (NEWER, Tables(NEWER, REVISION), Tables(NEWER, REVISION))
    assert on(url, shapes_of) == before
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert (
        f"tables of revision {NEWER}, newer than this version's {REVISION}, and compatible from {REVISION}" in said[0]
    )


async def test_a_service_that_works_when_the_tables_become_newer_says_so_once_and_goes_on(
    postgres_server: str, caplog: pytest.LogCaptureFixture
) -> None:
    with own_schema(postgres_server) as url:
        await migrate_records(url)
        records = await open_records(url)
        try:
            await put_batch(records, new_batch("b"), new_items([0]))
            run_statements(url, STEP)
            with caplog.at_level(logging.INFO, logger="imagemill"):
                for _ in range(3):
                    await records.check()
            await put_batch(records, new_batch("later"), new_items([0]))
            assert len(await rows_of(records, "b")) == len(await rows_of(records, "later")) == 1
            assert len(caplog.records) == 1

            run_statements(url, "UPDATE compatibility SET compatible_from = '9000';")
            with pytest.raises(SchemaUnknown, match="use a newer Imagemill"):
                await records.check()
        finally:
            await records.close()


async def test_to_look_at_tables_changes_nothing(url: str) -> None:
    on(url, lambda connection: upgrade(connection, REVISIONS[-2]))

    with pytest.raises(SchemaUnknown, match="run `imagemill migrate`"):
        await tables_at(url)

    assert on(url, revision_of) == REVISIONS[-2]


def test_each_step_says_which_versions_can_work_on_what_it_leaves_behind() -> None:
    said = [(each.revision, each.module.compatible_from) for each in STEPS if each.revision >= FIRST_THAT_SAYS]

    assert said[-1] == (REVISION, COMPATIBLE_FROM)
    assert all(FIRST_THAT_SAYS <= compatible_from <= revision for revision, compatible_from in said)
    assert sorted(compatible_from for _, compatible_from in said) == [compatible_from for _, compatible_from in said]
    assert {compatible_from for _, compatible_from in said} <= set(REVISIONS)


def test_a_step_leaves_the_versions_alone_that_it_vouches_for(url: str) -> None:
    shapes = {}
    for step in STEPS:
        on(url, partial(upgrade, target=step.revision))
        shapes[step.revision] = on(url, shapes_of)

    for step in STEPS:
        vouched_for = getattr(step.module, "compatible_from", step.revision)
        assert what_breaks(shapes[vouched_for], shapes[step.revision]) == [], step.revision


async def test_what_only_adds_breaks_nothing(url: str) -> None:
    await migrate_records(url)
    before = on(url, shapes_of)

    run_statements(url, ADDITIONS)

    assert what_breaks(before, on(url, shapes_of)) == []


@pytest.mark.parametrize(
    ("statements", "problems"),
    [
        ("DROP TABLE epochs;", ["epochs is gone"]),
        ("ALTER TABLE items DROP COLUMN remarks;", ["items.remarks is gone or another"]),
        ("ALTER TABLE items RENAME COLUMN mode TO manner;", ["items.mode is gone or another"]),
        ("DROP INDEX items_by_revision;", ["index items_by_revision is gone"]),
        (
            "CREATE UNIQUE INDEX once ON items (batch_id, source);",
            ["items has another rule: ['batch_id', 'source']"],
        ),
        (
            "DROP TABLE compatibility;"
            "CREATE TABLE compatibility "
            "(revision TEXT NOT NULL PRIMARY KEY, compatible_from TEXT, said_by TEXT NOT NULL);",
            ["compatibility.compatible_from is gone or another", "compatibility.said_by must be given"],
        ),
    ],
)
async def test_what_does_more_than_add_is_found_out(url: str, statements: str, problems: list[str]) -> None:
    await migrate_records(url)
    before = on(url, shapes_of)

    run_statements(url, statements)

    assert what_breaks(before, on(url, shapes_of)) == problems


async def test_a_server_without_tables_says_how_to_make_them(postgres_server: str) -> None:
    with own_schema(postgres_server) as empty, pytest.raises(SchemaUnknown, match="run `imagemill migrate`"):
        await open_records(empty)


async def test_a_step_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/mill.db"
    on(url, lambda connection: upgrade(connection, REVISIONS[0]))
    # The second step adds to batches first, and then finds a view where no column can be added.
    on(url, script("ALTER TABLE items RENAME TO moved; CREATE VIEW items AS SELECT * FROM moved;"))
    before = on(url, tables_of)

    with pytest.raises(RecordsUnavailable):
        await migrate_records(url)

    assert on(url, tables_of) == before


@pytest.mark.parametrize("fresh", [True, False])
def test_an_up_to_date_file_is_opened_without_what_only_servers_and_migrations_need(
    tmp_path: Path, fresh: bool
) -> None:
    program = f"""
import asyncio, sys
from imagemill.wiring.records import open_records
from imagemill.wiring.changes import open_changes

async def main():
    await (await open_records("sqlite:///{tmp_path}/mill.db")).close()
    async with open_changes("sqlite:"):
        pass

asyncio.run(main())
dear = ("alembic", "asyncpg", "sqlalchemy.dialects.postgresql", "sqlalchemy.ext.asyncio")
print([name for name in dear if name in sys.modules])
"""
    for _ in range(1 if fresh else 2):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
        assert (done.stdout.strip(), done.stderr) == ("[]", "")

"""PostgreSQL's own: a server that dies, hangs or says no, and tables that it has not counted yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from urllib.parse import quote

import asyncpg
import pytest

from imagemill.adapters.sql import postgres
from imagemill.adapters.sql.postgres import PostgresRecords, open_postgres
from imagemill.adapters.sql.postgres_trouble import place_of, telling
from imagemill.domain.items import Head, State
from imagemill.ports.records import Claim, NewItem, RecordsUnavailable
from imagemill.wiring.changes import open_changes
from imagemill.wiring.records import migrate_records, open_records
from storage_svc.intake import append_items, open_batch, seal_batch
from tests.support.builders import (
    FAR_OFF,
    GONE,
    batch_of,
    digest,
    move,
    new_batch,
    new_items,
    put_batch,
    rows_of,
    success,
)
from tests.support.eventually import eventually
from tests.support.postgres_node import PASSWORD, PostgresNode, run_sql
from tests.support.replicas import replicas

NOW = 1000.0
PATIENCE_S = 60.0


async def test_a_unit_reads_few_rows_of_tables_that_the_server_has_not_counted_yet(postgres_url: str) -> None:
    """A plan that reads all rows would make intake and claims quadratic, and fresh tables have no statistics."""
    run_sql(postgres_url, "ALTER TABLE items SET (autovacuum_enabled = off)")
    records = await open_postgres(postgres_url, 1)
    try:
        await open_batch(records, new_batch())
        for first in range(0, 20_000, 5_000):
            await append_items(records, "b", new_items(range(first, first + 5_000)), NOW)
        await seal_batch(records, "b", 20_000, NOW)
        read = await _rows_read_by_a_round(records)
    finally:
        await records.close()
        run_sql(postgres_url, "ALTER TABLE items RESET (autovacuum_enabled)")

    assert read < 1_000


async def _rows_read_by_a_round(records: PostgresRecords) -> int:
    """How many rows of items a unit fetches that claims, folds and looks for twins, for 50 of them."""
    succeeded = Head(State.SUCCEEDED, 0, 1)
    async with records.write() as unit:
        due = await unit.due_items("b", NOW, 50, in_flight=False)
        behind = await unit.due_hosts("b", NOW, (due[-1].due_at, due[-1].index), 50)
        assert [index for (_, index), _ in behind] == list(range(50, 100))
        assert len(await unit.due_items_of("b", range(50, 60), NOW)) == 10
        await unit.claim(
            Claim("t", "e", FAR_OFF), "b", [(each.index, Head(State.QUEUED, 0, 1), 1) for each in due], NOW
        )
        (batch,) = (await unit.batches(["b"])).values()
        batch.counts.move(State.PENDING, State.QUEUED, len(due))
        await unit.save_batch(batch)
        await unit.extend_leases("e", FAR_OFF, NOW)
        assert len(await unit.claimed("t")) == len(due) == 50
        assert await unit.asked_hosts("b") == {"pictures.test": 50}
        await unit.heads("b", [each.index for each in due])
        await unit.move_items([move(each.index, succeeded, 2, facts=success(each.index)) for each in due])
        first = await unit.first_twins("b", [digest(each.index) for each in due])
        await unit.twins("b", list(first))
        await unit.point_duplicates("b", [(each.index, 0, 3) for each in due])
        assert len(await unit.open_items("b", 10)) == 10
        assert await unit.failed_items("b", -1, 10, []) == {}
        statistics = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relid = 'items'::regclass"
        ((read,),) = await unit._connection.driver_rows(statistics, ())
    return int(read)


async def test_text_that_the_server_cannot_hold_is_stored_with_a_stand_in(postgres_url: str) -> None:
    records = await open_postgres(postgres_url, 1)
    try:
        batch = new_batch(client_id="nul\0inside")
        await put_batch(records, batch, [NewItem(0, "http://a.test/\0.jpg", 1, "", State.FAILED, GONE)])

        (row,) = await rows_of(records)
        assert row.source == "http://a.test/\N{SYMBOL FOR NULL}.jpg"
        assert [each.id for each in await records.batches("nul\0inside", None, 10)] == ["b"]
        assert await records.batch("no\0such") is None
    finally:
        await records.close()


@pytest.mark.parametrize(
    ("user", "password", "database", "said"),
    [
        ("mill", "wrong", "mill", "refuses the user or the password"),
        ("nobody", PASSWORD, "mill", "refuses the user or the password"),
        ("mill", PASSWORD, "none", "has no database of that name; create it"),
        ("mill", PASSWORD, "postgres", "has no tables yet; run `imagemill migrate`"),
    ],
)
async def test_what_is_wrong_is_said_and_the_password_is_not(
    postgres_node: PostgresNode, user: str, password: str, database: str, said: str
) -> None:
    server = place_of(postgres_node.url()).partition("/")[0]
    url = f"postgresql://{user}:{quote(password, safe='')}@{server}/{database}"

    with pytest.raises(RecordsUnavailable) as refused:
        await open_records(url)

    assert f"the database at {server}/{database} {said}" in str(refused.value)
    assert password not in str(refused.value)


@pytest.mark.parametrize(
    ("setting", "said"),
    [({"lock_timeout": "50ms"}, "waiting too long for rows"), ({"statement_timeout": "50ms"}, "took too long")],
)
async def test_a_unit_does_not_wait_for_ever_for_what_another_holds(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, setting: dict[str, str], said: str
) -> None:
    monkeypatch.setattr(postgres, "_WRITING", postgres._WRITING | setting)
    async with replicas(postgres_url, 2) as (one, another):
        await put_batch(one, new_batch(), [])
        async with one.write() as unit:
            await unit.batches(["b"])
            with pytest.raises(RecordsUnavailable, match=said):
                await _lock(another)

        await _lock(another)


async def test_more_units_than_connections_take_turns_or_are_told_why(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "CONNECT_S", 0.2)
    async with replicas(postgres_url, 1) as (records,):
        await put_batch(records, new_batch(), [])
        await asyncio.gather(*(_lock(records) for _ in range(10)))

        async with records.write(), records.write():
            with pytest.raises(RecordsUnavailable, match="all its connections in use"):
                await _lock(records)


async def _lock(records: PostgresRecords) -> None:
    async with records.write() as unit:
        assert await unit.batches(["b"])


async def test_a_setting_in_the_url_that_nobody_knows_is_no_outage(postgres_server: str) -> None:
    with pytest.raises(RecordsUnavailable, match="its URL asks for what the driver does not know"):
        await open_records(f"{postgres_server}?sslmode=nonsense")


async def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(
        RecordsUnavailable, match=r"the database at 127\.0\.0\.1:1/mill can't be reached: Connection refused"
    ):
        await open_records(f"postgresql://mill:{quote(PASSWORD, safe='')}@127.0.0.1:1/mill")


@pytest.mark.parametrize("password", ["a/b", "a#b", "a?b", "1#b", "1/b", "1?b"])
async def test_a_password_that_breaks_the_url_is_no_part_of_what_is_said(password: str) -> None:
    for act in (open_records, migrate_records):
        with pytest.raises(ValueError, match="percent-encoded") as refused:
            await act(f"postgresql://mill:{password}@127.0.0.1:5432/mill")

        assert password not in str(refused.value)
        assert refused.value.__cause__ is None


async def test_a_url_of_anything_else_is_refused() -> None:
    for act in (open_records, migrate_records):
        with pytest.raises(ValueError, match="'mysql' is no store of records"):
            await act("mysql://host/database")
    with pytest.raises(ValueError, match="'mysql' carries no hints"):
        async with open_changes("mysql://host/database"):
            pass


class TestAServerInTrouble:
    """On a server of its own, since it is killed and frozen."""

    @pytest.fixture
    def node(self) -> Iterator[PostgresNode]:
        node = PostgresNode()
        yield node
        node.destroy()

    @pytest.fixture
    async def records(self, node: PostgresNode) -> AsyncIterator[PostgresRecords]:
        await migrate_records(node.url())
        records = await open_postgres(node.url(), 3)
        yield records
        await records.close()

    async def test_what_was_committed_outlives_a_kill_and_work_goes_on_after_it(
        self, node: PostgresNode, records: PostgresRecords
    ) -> None:
        await put_batch(records, new_batch(), new_items(range(3)))

        async def write_while_it_dies() -> None:
            async with records.write() as unit:
                (batch,) = (await unit.batches(["b"])).values()
                batch.revision = 99
                await unit.save_batch(batch)
                await asyncio.to_thread(node.kill)

        with pytest.raises(RecordsUnavailable, match="can't be reached"):
            await write_while_it_dies()
        with pytest.raises(RecordsUnavailable, match="can't be reached"):
            await rows_of(records)

        await asyncio.to_thread(node.start)

        async def is_back() -> bool:
            with suppress(RecordsUnavailable):
                return (await batch_of(records)).revision == 4
            return False

        await eventually(is_back, timeout_s=PATIENCE_S)
        async with records.write() as unit:
            assert set(await unit.heads("b", range(5))) == {0, 1, 2}

    async def test_a_server_that_hangs_is_away_after_a_while_and_used_again_when_it_goes_on(
        self, node: PostgresNode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres, "ANSWER_S", 1.0)
        monkeypatch.setattr(postgres, "CONNECT_S", 1.0)
        await migrate_records(node.url())
        records = await open_postgres(node.url(), 1)
        try:
            await put_batch(records, new_batch(), new_items(range(3)))
            node.freeze()
            with pytest.raises(RecordsUnavailable, match="does not answer"):
                await rows_of(records)
            with pytest.raises(RecordsUnavailable, match="does not answer"):
                async with records.write() as unit:
                    await unit.batches(["b"])
            node.thaw()

            async def is_back() -> bool:
                with suppress(RecordsUnavailable):
                    async with records.write() as unit:
                        return len(await unit.heads("b", range(3))) == 3
                return False

            await eventually(is_back, timeout_s=PATIENCE_S)
        finally:
            await records.close()

    async def test_connections_to_a_server_that_hangs_can_be_closed(
        self, node: PostgresNode, records: PostgresRecords
    ) -> None:
        await put_batch(records, new_batch(), [])
        await rows_of(records)
        node.freeze()
        waiting = asyncio.create_task(_lock(records))
        async with asyncio.timeout(postgres.ANSWER_S / 2):
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            await records.close()

    async def test_a_process_that_stops_in_the_middle_of_a_unit_loses_it_and_what_it_holds(
        self, node: PostgresNode, records: PostgresRecords, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await put_batch(records, new_batch(), [])
        impatient = {**postgres._WRITING, "idle_in_transaction_session_timeout": "100ms", "lock_timeout": "30s"}
        monkeypatch.setattr(postgres, "_WRITING", impatient)
        stopped = await open_postgres(node.url(), 1)
        held, over = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            async with stopped.write() as unit:
                await unit.batches(["b"])
                held.set()
                await over.wait()

        holding = asyncio.create_task(hold())
        try:
            await held.wait()
            async with asyncio.timeout(PATIENCE_S), records.write() as unit:
                assert await unit.batches(["b"])
            over.set()
            with pytest.raises(RecordsUnavailable):
                await holding
        finally:
            await stopped.close()


def test_a_server_that_dies_in_the_middle_of_an_answer_is_away() -> None:
    # What asyncpg says then, in a moment too short to hit on purpose.
    with pytest.raises(RecordsUnavailable, match="hung up"), telling("here:5432/mill"):
        raise asyncpg.InternalClientError("cannot switch to state 11; another operation (2) is in progress")

"""`imagemill migrate` and `imagemill dead`: work on a mill's database and broker themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import TypeVar

from imagemill.cli.exits import CommandError, ExitCode
from imagemill.cli.listing import check_limit
from imagemill.cli.options import load_settings
from imagemill.cli.printing import Column, print_json, print_table, print_text
from imagemill.cli.remote import begin_work
from imagemill.ports.broker import Buried, Queue
from imagemill.ports.unavailable import PartUnavailable, UrlUnusable
from imagemill.runtime.jobs import decode_downloads, decode_processes
from imagemill.settings.loading import Sources
from imagemill.settings.service_groups import OnBroker, OnDatabase
from imagemill.v1 import messages_pb2
from imagemill.wiring.broker import open_broker
from imagemill.wiring.records import migrate_records

T = TypeVar("T")

MOST = 10_000
"""Buried messages that are shown when all are asked for."""


def migrate_command(told: Sources, *, as_json: bool) -> ExitCode:
    """Bring the database to this version's tables, and say what was done."""
    url = load_settings(OnDatabase, told).values.database_url
    migrated = _done(migrate_records(url))
    tables = migrated.tables
    if as_json:
        print_json({"before": migrated.before, "after": tables.revision, "compatible_from": tables.compatible_from})
    elif tables.remark:
        print_text(f"The database {tables.remark}. Nothing to do.")
    elif migrated.before == tables.revision:
        print_text(f"The database has tables of revision {tables.revision}, which this version needs. Nothing to do.")
    else:
        before = f"from revision {migrated.before}" if migrated.before else "from nothing"
        print_text(
            f"The database has been brought {before} to revision {tables.revision}. "
            f"Versions that need {tables.compatible_from} or later can work on it."
        )
    return ExitCode.OK


def dead_list_command(told: Sources, limit: int, *, as_json: bool) -> ExitCode:
    """Show what is buried."""
    check_limit(limit)
    most = limit or MOST

    async def look(url: str) -> list[Buried]:
        async with open_broker(url) as broker:
            return list(await broker.buried(most + 1))

    buried = _done(look(load_settings(OnBroker, told).values.broker_url))
    records = [_record(each) for each in buried[:most]]
    if as_json:
        for record in records:
            print_json(record)
    elif not records:
        print_text("Nothing is buried.")
    else:
        columns = [Column("QUEUE"), Column("BYTES", right=True), Column("BATCH"), Column("ITEMS", fold=True)]
        print_table(columns, ([str(cell) for cell in record.values()] for record in records))
        if len(buried) > most:
            print_text(f"There are more: --limit 0 shows {MOST:,}." if limit else f"There are more than {MOST:,}.")
    return ExitCode.OK


def redrive_command(told: Sources, *, as_json: bool) -> ExitCode:
    """Put what is buried back on its queues."""

    async def redrive(url: str) -> int:
        async with open_broker(url) as broker:
            return await broker.redrive()

    number = _done(redrive(load_settings(OnBroker, told).values.broker_url))
    if as_json:
        print_json({"redriven": number})
    elif number:
        print_text(f"{number:,} {'message is' if number == 1 else 'messages are'} back on the queues.")
    else:
        print_text("Nothing is buried.")
    return ExitCode.OK


def _done(work: Awaitable[T]) -> T:
    """Do something with a part. Raises `CommandError` when it is away or its URL can't be read."""

    async def done() -> T:
        return await work

    begin_work()
    try:
        return asyncio.run(done())
    except PartUnavailable as error:
        raise CommandError(f"{_sentence(error)} imagemill doctor looks at every part.", ExitCode.UNREACHABLE) from error
    except UrlUnusable as error:
        raise CommandError(str(error)) from error


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."


def _record(buried: Buried) -> Mapping[str, object]:
    batch, items = _contents(buried)
    return {"queue": buried.queue.value, "bytes": len(buried.body), "batch": batch, "items": items}


def _contents(buried: Buried) -> tuple[str, str]:
    """The batch and the items that a message is about, as far as it can be read."""
    try:
        if buried.queue is Queue.EVENTS:
            found = [(event.batch_id, event.index) for event in messages_pb2.ItemEvents.FromString(buried.body).events]
        else:
            decode = decode_downloads if buried.queue is Queue.DOWNLOAD else decode_processes
            found = [(job.batch_id, job.index) for job in decode(buried.body)]
    except Exception:  # whatever is in it, it is shown
        return "?", "can't be read"
    batches = sorted({batch_id for batch_id, _ in found})
    return " ".join(batches) or "?", " ".join(str(index) for _, index in found) or "none"

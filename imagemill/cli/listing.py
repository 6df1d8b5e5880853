"""`list`, `get`, `items`, `report`: what a mill knows of its batches."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from difflib import get_close_matches

from imagemill.cli.exits import CommandError, ExitCode
from imagemill.cli.json_lines import json_text
from imagemill.cli.printing import Column, print_json, print_table, print_text
from imagemill.cli.progress import counts_text, done, duration_text, local_time, readable
from imagemill.cli.records import batch_details, item_record, report_record, state_name
from imagemill.cli.remote import ask, find_batch, id_of
from imagemill.cli.summary import report_text
from imagemill.client import MillClient, state_word
from imagemill.domain.failures import FailureCode
from imagemill.v1.batch_pb2 import Batch, Item

LONGEST_NAME = 40
LONGEST_TEXT = 2_000
LONGEST_LINK_H = 7 * 24
USUAL_LINK_H = 24
STATE_STYLES = {
    "active": "cyan",
    "paused": "yellow",
    "cancelling": "yellow",
    "cancelled": "yellow",
    "completed": "green",
}
_BATCHES = (
    Column("BATCH"),
    Column("NAME", fold=True),
    Column("STATE", styles=STATE_STYLES),
    Column("DONE", right=True),
    Column("FAILED", right=True),
    Column("AGE", right=True),
)


def list_command(limit: int, to: str | None, as_json: bool) -> ExitCode:
    """List batches, newest first."""
    check_limit(limit)

    async def work(client: MillClient) -> tuple[list[Batch], bool]:
        found: list[Batch] = []
        async with aclosing(client.list_batches(page_size=min(limit + 1, 1000) if limit else 1000)) as batches:
            async for batch in batches:
                if limit and len(found) == limit:
                    return found, True
                found.append(batch)
        return found, False

    found, more = ask(to, work)
    if as_json:
        for batch in found:
            print_json(batch_details(batch))
    elif not found:
        print_text("No batch yet. Hand one in with: imagemill submit urls.txt")
    else:
        now = time.time()
        print_table(_BATCHES, [_batch_row(batch, now) for batch in found])
        if more:
            print_text(f"There are more: --limit 0 shows all, --limit {limit * 5} some.")
    return ExitCode.OK


def _batch_row(batch: Batch, now: float) -> list[str]:
    counts = batch.progress
    age = duration_text(now - batch.create_time.ToNanoseconds() / 1e9)
    return [
        id_of(batch),
        readable(batch.display_name, LONGEST_NAME),
        state_word(batch),
        f"{done(counts):,}/{counts.total:,}",
        f"{counts.failed:,}" if counts.failed else "",
        age,
    ]


def get_command(word: str, to: str | None, as_json: bool) -> ExitCode:
    """Show one batch."""
    batch = ask(to, lambda client: find_batch(client, word))
    if as_json:
        print_json(batch_details(batch), indent=2)
        return ExitCode.OK
    rows = [
        ("Batch", batch.name),
        ("Name", readable(batch.display_name, LONGEST_TEXT)),
        ("State", state_word(batch)),
        ("Progress", counts_text(batch.progress)),
        ("Variants", ", ".join(variant.name for variant in batch.recipe.variants)),
        ("Priority", str(batch.priority)),
        ("Originals", "kept" if batch.keep_originals else "deleted once rendered"),
        ("Undecodable", "put aside" if batch.keep_undecodable else ""),
        *((label, _moment(batch, field)) for label, field in _MOMENTS),
        *((f"Label {key}", readable(value, LONGEST_TEXT)) for key, value in sorted(batch.labels.items())),
    ]
    width = max(len(label) for label, _ in rows)
    print_text("\n".join(f"{label:<{width}}  {value}" for label, value in rows if value))
    return ExitCode.OK


_MOMENTS = (("Handed in", "create_time"), ("Begun", "start_time"), ("Ended", "end_time"))


def _moment(batch: Batch, field: str) -> str:
    return local_time(getattr(batch, field)) if batch.HasField(field) else ""  # type: ignore[arg-type]  # from _MOMENTS


@dataclass(frozen=True, slots=True)
class ItemsWanted:
    """Which items to list, and with what."""

    states: Sequence[str]
    codes: Sequence[str]
    limit: int
    """0 for all."""
    link_hours: int | None
    """How long links to the pictures hold; None for no links."""

    def check(self) -> None:
        """Raise `CommandError` for what can't be meant."""
        check_limit(self.limit)
        if self.link_hours is not None and not 1 <= self.link_hours <= LONGEST_LINK_H:
            raise CommandError(f"--link-hours {self.link_hours}: give a number from 1 to {LONGEST_LINK_H}.")
        for code in self.codes:
            check_code(code)


def items_command(word: str, wanted: ItemsWanted, to: str | None, as_json: bool) -> ExitCode:
    """List items in input order, as they come: a batch may have millions."""
    wanted.check()
    limit = wanted.limit

    async def work(client: MillClient) -> int:
        batch, shown = await find_batch(client, word), 0
        pages = client.item_pages(
            batch,
            states=wanted.states,
            error_codes=wanted.codes,
            link_lifetime_s=(wanted.link_hours or 0) * 3600.0,
            page_size=min(limit, 1000) if limit else 1000,
        )
        async with aclosing(pages):
            async for page in pages:
                chosen = page[: limit - shown] if limit else page
                _print_items(chosen, as_json=as_json, with_header=not shown)
                shown += len(chosen)
                if limit and shown >= limit:
                    break
        return shown

    if not ask(to, work) and not as_json:
        chosen = wanted.states or wanted.codes
        print_text("No item of the batch is like that." if chosen else "The batch has no items.")
    return ExitCode.OK


def _print_items(items: Sequence[Item], *, as_json: bool, with_header: bool) -> None:
    if not items:
        return
    lines = [json_text(item_record(item), sys.stdout) if as_json else _item_lines(item) for item in items]
    header = [] if as_json or not with_header else [_ITEM_HEADER]
    print_text("\n".join([*header, *lines]))


_CODE_WIDTH = max(len(code) for code in FailureCode)


_ITEM_HEADER = f"{'INDEX':<6}  {'STATE':<11}  {'ERROR':<{_CODE_WIDTH}}  SOURCE"


def _item_lines(item: Item) -> str:
    source = readable(item.source, LONGEST_TEXT)
    line = f"{item.index:06d}  {state_name(item).lower():<11}  {item.failure.code:<{_CODE_WIDTH}}  {source}"
    further = [readable(item.failure.message, LONGEST_TEXT)] if item.failure.message else []
    # Never shortened: a link that lacks a character gives nothing.
    further += [render.url for render in item.renders if render.url]
    return "\n".join([line, *(f"{'':8}{each}" for each in further)])


def report_command(word: str, to: str | None, as_json: bool) -> ExitCode:
    """Show what has become of a batch."""

    async def work(client: MillClient) -> None:
        report = await client.report(await find_batch(client, word))
        if as_json:
            print_json(report_record(report), indent=2)
        else:
            print_text(report_text(report))

    ask(to, work)
    return ExitCode.OK


def check_limit(limit: int) -> None:
    """Refuse a number of lines that can't be meant. Raises `CommandError`."""
    if limit < 0:
        raise CommandError(f"--limit {limit}: give a number from 0, which shows all.")


def check_code(code: str) -> None:
    """Refuse what is no failure code. Raises `CommandError`."""
    if code not in set(FailureCode):
        nearest = get_close_matches(code.upper(), [str(known) for known in FailureCode], n=1)
        hint = f" Did you mean {nearest[0]}?" if nearest else " imagemill report shows those of a batch."
        raise CommandError(f"--error {code}: there is no such code.{hint}")

"""`pause`, `resume`, `cancel`, `retry`: one call each, and a line that says what it means."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from imagemill.cli.exits import ExitCode
from imagemill.cli.listing import check_code
from imagemill.cli.printing import print_json, print_text
from imagemill.cli.progress import counts_text, readable
from imagemill.cli.records import batch_details
from imagemill.cli.remote import ask, find_batch, id_of
from imagemill.client import MillClient
from imagemill.v1.batch_pb2 import Batch

LONGEST_NAME = 80


def pause_command(word: str, to: str | None, as_json: bool) -> ExitCode:
    """Take up no more items of a batch."""
    return _change(word, to, as_json, MillClient.pause, "is paused; what is in flight ends, resume takes up the rest")


def resume_command(word: str, to: str | None, as_json: bool) -> ExitCode:
    """Let a paused batch go on."""
    return _change(word, to, as_json, MillClient.resume, "is at work")


def cancel_command(word: str, to: str | None, as_json: bool) -> ExitCode:
    """Give a batch up."""
    return _change(word, to, as_json, MillClient.cancel, "is given up; what is finished stays")


def _change(
    word: str, to: str | None, as_json: bool, call: Callable[[MillClient, Batch], Awaitable[Batch]], meaning: str
) -> ExitCode:
    async def work(client: MillClient) -> Batch:
        return await call(client, await find_batch(client, word))

    batch = ask(to, work)
    if as_json:
        print_json(batch_details(batch), indent=2)
    else:
        print_text(f"{_called(batch)} {meaning}. {counts_text(batch.progress)}.")
    return ExitCode.OK


def retry_command(word: str, codes: Sequence[str], to: str | None, as_json: bool) -> ExitCode:
    """Try failed items again."""
    for code in codes:
        check_code(code)

    async def work(client: MillClient) -> tuple[Batch, int]:
        response = await client.retry_failed(await find_batch(client, word), codes)
        return response.batch, response.items

    batch, number = ask(to, work)
    if as_json:
        print_json({**batch_details(batch), "items_retried": number}, indent=2)
    elif not number:
        print_text(f"Nothing of {_called(batch)} that failed{_so(codes)} can be tried again.")
    else:
        noun = "item" if number == 1 else "items"
        print_text(f"Trying {number:,} failed {noun} of {_called(batch)} again.")
    return ExitCode.OK


def _so(codes: Sequence[str]) -> str:
    return f" with {' or '.join(codes)}" if codes else ""


def _called(batch: Batch) -> str:
    name = readable(batch.display_name, LONGEST_NAME)
    return f"{id_of(batch)} ({name})" if name else id_of(batch)

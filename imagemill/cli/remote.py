"""A running mill, asked from outside: how it is reached, what its refusals mean, and what batches are called."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc

from imagemill.cli.exits import CommandError, ExitCode
from imagemill.cli.options import mill_at, to_reach
from imagemill.client import MillClient, MillError, MillUnreachable
from imagemill.runtime.memory import collect_garbage
from imagemill.v1.batch_pb2 import Batch

T = TypeVar("T")

NAMES_TOLD = 5
"""Batches named when a beginning fits several."""

_BATCH_ID = re.compile(r"[a-z0-9-]{1,64}")

_OPTION_OF_FIELD = {
    "spec.batch_id": "--batch-id",
    "spec.request_id": "--request-id",
    "spec.batch.priority": "--priority",
    "error_codes": "--error",
}
_REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.OUT_OF_RANGE,
}
"""What the mill answers to a question that can't be answered as it is; all else is trouble of its own."""


def ask(to: str | None, work: Callable[[MillClient], Awaitable[T]]) -> T:
    """Do `work` with a client of the mill at `to`, where the settings say if None, and return what it gives.

    Raises:
        CommandError: no mill answers there, or it refuses.
    """
    mill = mill_at(to)
    begin_work()
    return asyncio.run(asked(mill, work))


def begin_work() -> None:
    """Prepare this process for work beyond reading its arguments; all is imported by now."""
    collect_garbage()
    # What libraries have to say is not for the terminal: every failure is told in words of ours.
    logging.getLogger().addHandler(logging.NullHandler())


async def asked(to: str, work: Callable[[MillClient], Awaitable[T]], patience_s: float = 0.0) -> T:
    """Do what `ask` does, at a given address; `patience_s` is how long the mill may be away."""
    try:
        async with MillClient(to, patience_s=patience_s) as client:
            return await work(client)
    except MillError as error:
        raise as_command_error(error, to) from error


def as_command_error(error: MillError, to: str) -> CommandError:
    """Say what a failed call means for the command's user."""
    if isinstance(error, MillUnreachable):
        return CommandError(
            f"No mill answers at {to}. Start one with: imagemill up. Or say where it is: --to HOST:PORT.",
            ExitCode.UNREACHABLE,
        )
    if error.status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return CommandError(f"The mill at {to} does not answer in time; try again later.", ExitCode.UNREACHABLE)
    if error.reason == grpc.StatusCode.UNAVAILABLE.name:
        return CommandError(error.message, ExitCode.UNREACHABLE)
    if error.status is grpc.StatusCode.UNIMPLEMENTED:
        return CommandError(f"What answers at {to} is no mill, or one of another version.", ExitCode.UNREACHABLE)
    code = ExitCode.USAGE if error.status in _REFUSALS else ExitCode.BROKEN
    if error.fields and code is ExitCode.USAGE:
        problems = (f"{_OPTION_OF_FIELD.get(field, field)}: {problem}" for field, problem in error.fields.items())
        return CommandError("\n".join(problems), code)
    return CommandError(error.message, code)


async def find_batch(client: MillClient, word: str) -> Batch:
    """Return the batch with that name, that id, or as the only one an id that begins so.

    Raises:
        CommandError: there is none, or there are several.
        MillError: the mill can't be asked.
    """
    batch_id = word.removeprefix("batches/")
    if not _BATCH_ID.fullmatch(batch_id):
        raise CommandError(f"{word!r} is no batch's name; {_listing(client)} shows those that there are.")
    try:
        return await client.get(batch_id)
    except MillError as error:
        if error.reason != "BATCH_NOT_FOUND":
            raise
    return await _only_one(client, batch_id)


async def _only_one(client: MillClient, start: str) -> Batch:
    found = [batch async for batch in client.list_batches(page_size=1000) if id_of(batch).startswith(start)]
    if not found:
        raise CommandError(f"There is no batch {start}; {_listing(client)} shows those that there are.")
    if len(found) > 1:
        names = ", ".join(id_of(batch) for batch in found[:NAMES_TOLD])
        more = f" and {len(found) - NAMES_TOLD:,} more" if len(found) > NAMES_TOLD else ""
        raise CommandError(f"{start} may be {names}{more}; write some more of it.")
    return found[0]


def _listing(client: MillClient) -> str:
    return f"imagemill list{to_reach(client.target)}"


def id_of(batch: Batch) -> str:
    """Return a batch's id, the short form of its name."""
    return batch.name.removeprefix("batches/")

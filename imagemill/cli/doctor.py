"""`imagemill doctor`: tries every part of a mill that runs as several processes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from imagemill.cli.exits import CommandError, ExitCode
from imagemill.cli.printing import Column, print_json, print_table, print_text
from imagemill.cli.remote import begin_work
from imagemill.ports.unavailable import PartUnavailable
from imagemill.runtime.health import GATEWAY, STORAGE, service_answers
from imagemill.runtime.serving import dial
from imagemill.settings.addresses import masked
from imagemill.settings.declaring import settings_of
from imagemill.settings.loading import Sources, gather
from imagemill.settings.problems import SettingsError
from imagemill.settings.service_groups import Parts
from imagemill.wiring.blobs import open_blobs
from imagemill.wiring.broker import open_broker
from imagemill.wiring.records import tables_at

ANSWER_S = 15.0
"""How long a part may take, in seconds."""

_FOLDER_ADVICE = "see that the folder is there and may be written"
_BUCKET_ADVICE = (
    "see that the bucket is there, and that the environment of this command and of the services names its endpoint, if "
    "it has one of its own, and credentials that may list, read, write and delete in it"
)


@dataclass(frozen=True, slots=True)
class Known:
    """What there is to know of a part that can be used, beyond that it can."""

    facts: Mapping[str, str] = field(default_factory=dict)
    remark: str = ""
    """What people should hear of it: the end of a sentence that begins with the part."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part as the settings name it."""

    name: str
    where: str
    """Fit to be shown."""
    attempt: Callable[[], Awaitable[Known]] | None
    """Tries it, and says what it is like; None when nobody has said where it is."""
    advice: str
    """What to do when it can't be used, beyond what it says itself."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of trying a part."""

    part: Part
    trouble: str | None
    """None when it can be used."""
    known: Known = Known()


def doctor_command(told: Sources, *, as_json: bool) -> ExitCode:
    """Try every part side by side, and say what was found."""
    try:
        found = gather(Parts, told)
    except SettingsError as error:
        raise CommandError("\n".join(error.problems)) from error
    parts = list(_parts({name: value for name, (value, _) in found.items()}))
    begin_work()
    findings = asyncio.run(_examined(parts))
    if as_json:
        for finding in findings:
            print_json(_record(finding))
    else:
        _print(findings)
    return ExitCode.SOME_FAILED if any(finding.trouble is not None for finding in findings) else ExitCode.OK


def _parts(told: Mapping[str, Any]) -> Iterator[Part]:
    to: str = told["to"]
    broker, database, blobs, storage = (
        told.get(name) for name in ("broker_url", "database_url", "blob_url", "storage_target")
    )
    yield _part("broker", "broker_url", broker, _try_broker, "see that RabbitMQ runs, and that the URL is right")
    yield _part("database", "database_url", database, _try_database, "see that it runs, and that the URL is right")
    in_folder = blobs is None or blobs.startswith("file:")
    yield _part("blob store", "blob_url", blobs, _try_blobs, _FOLDER_ADVICE if in_folder else _BUCKET_ADVICE)
    yield _part("storage service", "storage_target", storage, _try_storage, "start it with: imagemill storage")
    yield Part(
        "gateway", to, lambda: _try_gateway(to), "start it with: imagemill gateway; or say where it is with --to"
    )


def _part(name: str, setting: str, told: str | None, attempt: Callable[[str], Awaitable[Known]], advice: str) -> Part:
    if told is None:
        return Part(name, "", None, f"set {settings_of(Parts)[setting].variable}")
    return Part(name, masked(told) if "://" in told else told, lambda: attempt(told), advice)


async def _try_broker(url: str) -> Known:
    async with open_broker(url) as broker:
        await broker.check()
    return Known()


async def _try_database(url: str) -> Known:
    tables = await tables_at(url)
    return Known({"revision": tables.revision, "compatible_from": tables.compatible_from}, tables.remark)


async def _try_blobs(url: str) -> Known:
    with closing(open_blobs(url)) as blobs:
        await blobs.check()
    return Known()


async def _try_storage(target: str) -> Known:
    return await _try_service(target, STORAGE)


async def _try_gateway(target: str) -> Known:
    return await _try_service(target, GATEWAY)


async def _try_service(target: str, service: str) -> Known:
    async with dial(target) as channel:
        await service_answers(channel, target, service)()
    return Known()


async def _examined(parts: list[Part]) -> list[Finding]:
    return list(await asyncio.gather(*map(_examine, parts)))


async def _examine(part: Part) -> Finding:
    if part.attempt is None:
        return Finding(part, "nobody has said where it is")
    try:
        async with asyncio.timeout(ANSWER_S):
            return Finding(part, None, await part.attempt())
    except TimeoutError:
        return Finding(part, f"no answer within {ANSWER_S:g} s")
    except (PartUnavailable, ValueError) as error:
        return Finding(part, str(error).removesuffix("."))
    except OSError as error:
        return Finding(part, f"{error.filename or 'it'} can't be used: {error.strerror or 'input/output error'}")


def _record(finding: Finding) -> Mapping[str, object]:
    part = finding.part
    record: dict[str, object] = {"part": part.name, "where": part.where, "ok": finding.trouble is None}
    if finding.trouble is None:
        return {**record, **finding.known.facts}
    return record | {"trouble": finding.trouble, "advice": part.advice}


def _print(findings: list[Finding]) -> None:
    columns = [
        Column("PART"),
        Column("STATE", styles={"ok": "green", "trouble": "red"}),
        Column("WHERE", fold=True),
    ]
    rows = [(each.part.name, "ok" if each.trouble is None else "trouble", each.part.where) for each in findings]
    print_table(columns, rows)
    for each in findings:
        if each.trouble is not None:
            print_text(f"\n{each.part.name}: {each.trouble}.\n  What to do: {each.part.advice}.")
        elif each.known.remark:
            print_text(f"\nThe {each.part.name} {each.known.remark}.")

"""`imagemill settings`: what is set, where that comes from, and changes in a running mill."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from imagemill.cli.exits import CommandError, ExitCode
from imagemill.cli.printing import Column, print_json, print_table
from imagemill.settings.catalogue import GROUPS
from imagemill.settings.loading import Row, Sources, overview
from imagemill.settings.problems import SettingsError

if TYPE_CHECKING:
    from imagemill.v1.settings_service_pb2 import Setting

Record = Mapping[str, object]

_COLUMNS = (
    Column("SETTING"),
    Column("VALUE", fold=True),
    Column("FROM", styles={"default": "dim"}, fold=True),
    Column("MEANING", fold=True),
)


def show_command(group: str, told: Sources, as_json: bool) -> ExitCode:
    """Show the settings that a command or service started here and now would have."""
    try:
        rows = overview(GROUPS[group], told)
    except SettingsError as error:
        raise CommandError("\n".join(error.problems)) from error
    _print(map(_record_of_row, rows), as_json)
    return ExitCode.OK


def show_remote_command(to: str | None, as_json: bool) -> ExitCode:
    """Show the settings of a running mill."""
    _print(_ask(to, {}), as_json)
    return ExitCode.OK


def set_command(assignments: Sequence[str], to: str | None, as_json: bool) -> ExitCode:
    """Change settings of a running mill, and show what they are now."""
    _print(_ask(to, _values(assignments)), as_json)
    return ExitCode.OK


def _values(assignments: Sequence[str]) -> dict[str, str]:
    if not assignments:
        raise CommandError("Say what to change: imagemill settings set downloads=20.")
    values = dict[str, str]()
    for assignment in assignments:
        name, sign, value = assignment.partition("=")
        if not (name and sign):
            raise CommandError(f"{assignment}: write a name, an equals sign and a value, such as downloads=20.")
        if name in values:
            raise CommandError(f"{name} is given twice; once is enough.")
        values[name] = value
    return values


def _ask(to: str | None, values: Mapping[str, str]) -> list[Record]:
    """Change `values` in the mill at `to` and return those; without any, return all that it has."""
    from imagemill.cli.options import mill_at
    from imagemill.cli.remote import as_command_error
    from imagemill.client import MillError
    from imagemill.client.settings import SettingsClient

    async def work() -> list[Record]:
        async with SettingsClient(mill) as client:
            told = await client.update(values) if values else await client.list_settings()
        return [_record_of_message(each) for each in told]

    mill = mill_at(to)
    try:
        return asyncio.run(work())
    except MillError as error:
        if not error.fields:
            raise as_command_error(error, mill) from error
        problems = (_problem(field, problem, values) for field, problem in error.fields.items())
        raise CommandError("\n".join(problems)) from error


def _problem(field: str, problem: str, values: Mapping[str, str]) -> str:
    name = field.removeprefix("values[").removesuffix("]")
    return f"{name}={values.get(name, '')}: {problem}"


def _record_of_row(row: Row) -> Record:
    setting = row.setting
    return {
        "name": setting.name,
        "value": row.shown,
        "source": row.origin.layer.value if row.origin else "missing",
        "origin": row.origin.place if row.origin else "",
        "default": setting.default_shown,
        "allowed": setting.kind.allowed,
        "changeable": setting.changeable,
        "description": setting.help,
    }


def _record_of_message(setting: Setting) -> Record:
    from imagemill.client.names import enum_word

    return {
        "name": setting.name,
        "value": setting.value,
        "source": enum_word(setting.Source, setting.source, "SOURCE").replace("_", " "),
        "origin": setting.origin,
        "default": setting.default_value,
        "allowed": setting.allowed,
        "changeable": setting.changeable,
        "description": setting.description,
    }


def _print(records: Iterable[Record], as_json: bool) -> None:
    if as_json:
        for record in records:
            print_json(record)
        return
    print_table(_COLUMNS, [_cells(record) for record in records])


def _cells(record: Record) -> list[str]:
    source, origin = str(record["source"]), str(record["origin"])
    if source == "missing":
        return [str(record["name"]), "", "needed", str(record["description"])]
    return [
        str(record["name"]),
        str(record["value"]),
        f"{source}: {origin}" if origin else source,
        str(record["description"]),
    ]

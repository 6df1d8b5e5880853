"""Tables of a version to come, and what makes a step between revisions one that older versions don't notice."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect

from imagemill.adapters.sql.revisions import REVISION
from tests.support.postgres_node import run_sql

NEWER = "9000"
ADDITIONS = """
    ALTER TABLE batches ADD COLUMN coming_text TEXT NOT NULL DEFAULT 'of the server';
    ALTER TABLE batches ADD COLUMN coming_flag BOOLEAN NOT NULL DEFAULT FALSE;
    ALTER TABLE items ADD COLUMN coming_note TEXT;
    ALTER TABLE items ADD COLUMN coming_number BIGINT NOT NULL DEFAULT 7;
    ALTER TABLE claims ADD COLUMN coming_owner TEXT;
    ALTER TABLE epochs ADD COLUMN coming_moment DOUBLE PRECISION NOT NULL DEFAULT 0;
    CREATE TABLE coming (batch_id TEXT NOT NULL, idx BIGINT NOT NULL, PRIMARY KEY (batch_id, idx));
    CREATE INDEX coming_items ON items (batch_id, coming_number);
"""
"""Every kind of addition that a step may make without a word to older versions."""


def marking(revision: str, compatible_from: str) -> str:
    """Statements that make the tables say what they are, as a migration does."""
    return f"""
        UPDATE alembic_version SET version_num = '{revision}';
        INSERT INTO compatibility VALUES ('{revision}', '{compatible_from}');
    """


STEP = ADDITIONS + marking(NEWER, REVISION)
"""A step of a version to come, on the tables of this one."""


def run_statements(url: str, statements: str) -> None:
    """Run statements on the database of a URL, of either kind."""
    if not url.startswith("sqlite"):
        run_sql(url, statements)
        return
    with closing(sqlite3.connect(Path(url.removeprefix("sqlite:///")))) as database:
        database.executescript(statements)


@dataclass(frozen=True, slots=True)
class Shape:
    """What the statements of a version rely on in a table."""

    columns: Mapping[str, tuple[str, bool, str | None]]
    """Type, whether it may be null, and the server's default."""
    indexes: frozenset[str]
    rules: frozenset[str]
    """What a row must keep to: keys and constraints."""


def shapes_of(connection: Connection) -> dict[str, Shape]:
    """The shape of each table."""
    found = inspect(connection)

    def rules(table: str) -> frozenset[str]:
        unique = [index["column_names"] for index in found.get_indexes(table) if index["unique"]]
        listed: list[Any] = [
            found.get_pk_constraint(table)["constrained_columns"],
            *(each["column_names"] for each in found.get_unique_constraints(table)),
            *unique,
            *(each["sqltext"] for each in found.get_check_constraints(table)),
            *(each["constrained_columns"] for each in found.get_foreign_keys(table)),
        ]
        return frozenset(str(each) for each in listed)

    return {
        table: Shape(
            {each["name"]: (str(each["type"]), each["nullable"], each["default"]) for each in found.get_columns(table)},
            frozenset(str(each["name"]) for each in found.get_indexes(table)),
            rules(table),
        )
        for table in found.get_table_names()
    }


def what_breaks(before: Mapping[str, Shape], after: Mapping[str, Shape]) -> list[str]:
    """What a version that was made for the tables before would trip over in those after."""
    problems: list[str] = []
    for table, old in before.items():
        new = after.get(table)
        if new is None:
            problems.append(f"{table} is gone")
            continue
        problems += [
            f"{table}.{name} is gone or another"
            for name, column in old.columns.items()
            if new.columns.get(name) != column
        ]
        problems += [
            f"{table}.{name} must be given"
            for name, (_, nullable, default) in new.columns.items()
            if name not in old.columns and not nullable and default is None
        ]
        problems += [f"index {name} is gone" for name in sorted(old.indexes - new.indexes)]
        problems += [f"{table} has another rule: {rule}" for rule in sorted(old.rules ^ new.rules)]
    return problems

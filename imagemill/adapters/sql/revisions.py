"""Which revision of the tables a database has; `migrations` holds the steps between them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, inspect, select

from imagemill.ports.records import RecordsUnavailable

REVISION = "0006"
"""The tables of `schema`. Revisions are numbered, so that a later one has the greater number."""

# Alembic's own table, which it makes by itself: apart from the others, so that it does not count as one of them.
alembic_version = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


@dataclass(frozen=True, slots=True)
class Migrated:
    """What became of a database."""

    before: str | None
    """The revision that it had; None when it was empty."""
    after: str


class SchemaUnknown(RecordsUnavailable):
    """The tables are missing, or were made by another version of the mill."""


def revision_of(connection: Connection) -> str | None:
    """The revision of a database; None when it has none."""
    if not inspect(connection).has_table(alembic_version.name):
        return None
    return connection.scalar(select(alembic_version.c.version_num))


def problem_with(revision: str | None) -> str | None:
    """Why this version can't work on tables of a revision, as the end of a sentence that begins with the database."""
    if revision is None:
        return "has no tables yet; run `imagemill migrate`"
    if revision < REVISION:
        return f"has tables of revision {revision}, and this version needs {REVISION}; run `imagemill migrate`"
    if revision > REVISION:
        return f"has tables of revision {revision}, which is newer than this version knows; use a newer Imagemill"
    return None

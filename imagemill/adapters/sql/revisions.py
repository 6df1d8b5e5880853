"""Which tables a database has, and whether this version can work on them; `migrations` holds the steps between them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, inspect, select

from imagemill.adapters.sql.schema import compatibility
from imagemill.ports.records import RecordsUnavailable

REVISION = "0009"
"""The tables of `schema`. Revisions are numbered, so that a later one has the greater number."""
COMPATIBLE_FROM = "0007"
"""The oldest revision whose versions can work on these tables: what the step to them says."""

# Alembic's own table, which it makes by itself: apart from the others, so that it does not count as one of them.
alembic_version = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables that a database has."""

    revision: str
    compatible_from: str
    """The oldest revision whose versions can work on them."""

    @property
    def remark(self) -> str:
        """What there is to say of tables that a newer version has made: the end of a sentence; empty of others."""
        if self.revision <= REVISION:
            return ""
        return (
            f"has tables of revision {self.revision}, newer than this version's {REVISION}, "
            f"and compatible from {self.compatible_from} on"
        )


@dataclass(frozen=True, slots=True)
class Migrated:
    """What became of a database."""

    before: str | None
    """The revision that it had; None when it was empty."""
    tables: Tables


class SchemaUnknown(RecordsUnavailable):
    """The tables are missing, or were made by another version of the mill that does not vouch for this one."""


def revision_of(connection: Connection) -> str | None:
    """The revision of a database; None when it has none."""
    if not inspect(connection).has_table(alembic_version.name):
        return None
    return connection.scalar(select(alembic_version.c.version_num))


def tables_of(connection: Connection, database: str = "the database") -> Tables:
    """The tables of a database. Raises `SchemaUnknown` when this version can't work on them, with what to do."""
    revision = revision_of(connection)
    if revision is None:
        raise SchemaUnknown(f"{database} has no tables yet; run `imagemill migrate`")
    if revision < REVISION:
        raise SchemaUnknown(
            f"{database} has tables of revision {revision}, and this version needs {REVISION}; run `imagemill migrate`"
        )
    tables = Tables(revision, COMPATIBLE_FROM if revision == REVISION else _compatible_from(connection, revision))
    if tables.compatible_from > REVISION:
        raise SchemaUnknown(
            f"{database} has tables of revision {revision}, which is newer than this version knows; "
            "use a newer Imagemill"
        )
    return tables


def _compatible_from(connection: Connection, revision: str) -> str:
    """What newer tables say of themselves; of those that say nothing, that nothing older can work on them."""
    if not inspect(connection).has_table(compatibility.name):
        return revision
    said = select(compatibility.c.compatible_from).where(compatibility.c.revision == revision)
    return connection.scalar(said) or revision

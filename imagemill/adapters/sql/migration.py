"""Brings tables of any earlier revision to this version's.

Imported only when there is something to do: Alembic is slow to load, and nothing else needs it.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, insert, inspect

from imagemill.adapters.sql.revisions import REVISION, Migrated, Tables, revision_of, tables_of
from imagemill.adapters.sql.schema import batches, compatibility

FOLDER = Path(__file__).parent / "migrations"
FIRST = "0001"
"""What a database is that has tables and no revision."""


def upgrade(connection: Connection, target: str = REVISION) -> Migrated:
    """Take every step up to a revision, inside the transaction that is open.

    A database that is at the target, or newer and says that this version can work on it, stays as it is. Raises
    `SchemaUnknown` when it is newer than that.
    """
    config = alembic_config(connection)
    before = revision_of(connection)
    if before is not None and before >= REVISION:
        return Migrated(before, tables_of(connection))
    if before is None and inspect(connection).has_table(batches.name):
        command.stamp(config, before := FIRST)
    command.upgrade(config, target)
    tables = Tables(target, compatible_from(target, config))
    # Tables of before they said so say nothing.
    if before != target and inspect(connection).has_table(compatibility.name):
        connection.execute(insert(compatibility).values(revision=target, compatible_from=tables.compatible_from))
    return Migrated(before, tables)


def compatible_from(revision: str, config: Config) -> str:
    """What a step says of the tables that it leaves behind."""
    module = ScriptDirectory.from_config(config).get_revision(revision).module
    return str(getattr(module, "compatible_from", revision))


def alembic_config(connection: Connection) -> Config:
    """What Alembic needs to know to work on a connection."""
    config = Config(attributes={"connection": connection})
    # Its files take % for the beginning of a variable.
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return config

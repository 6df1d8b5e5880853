"""Brings tables of any earlier revision to this version's.

Imported only when there is something to do: Alembic is slow to load, and nothing else needs it.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, inspect

from imagemill.adapters.sql.revisions import REVISION, SchemaUnknown, problem_with, revision_of
from imagemill.adapters.sql.schema import batches

FOLDER = Path(__file__).parent / "migrations"
FIRST = "0001"
"""What a database is that has tables and no revision."""


def upgrade(connection: Connection, target: str = REVISION) -> str | None:
    """Take every step up to a revision, inside the transaction that is open; returns the revision from before.

    Raises `SchemaUnknown` when the database is newer than this version.
    """
    config = alembic_config(connection)
    before = revision_of(connection)
    if before is not None and before > REVISION:
        raise SchemaUnknown(f"the database {problem_with(before)}")
    if before is None and inspect(connection).has_table(batches.name):
        command.stamp(config, before := FIRST)
    command.upgrade(config, target)
    return before


def alembic_config(connection: Connection) -> Config:
    """What Alembic needs to know to work on a connection."""
    config = Config(attributes={"connection": connection})
    # Its files take % for the beginning of a variable.
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return config

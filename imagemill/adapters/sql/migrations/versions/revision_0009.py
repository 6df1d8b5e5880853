"""Indexes of what is few among much: items that ended without pictures, batches that are to be swept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
compatible_from = "0007"


def upgrade() -> None:
    """Add them."""
    _add("items_unsuccessful", "items", ["batch_id", "idx"], sa.text("state >= 7"))
    _add("batches_unswept", "batches", ["finished_at"], sa.text("NOT swept"))


def _add(name: str, table: str, columns: list[str], condition: sa.TextClause) -> None:
    op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)

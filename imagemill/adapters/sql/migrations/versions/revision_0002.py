"""What was added while revisions were: tries of a download, undecodable files kept aside; `meta` held the version."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add what is missing: files made before revisions were kept are not all alike."""
    _add("batches", sa.Column("keep_undecodable", sa.Boolean, nullable=False, server_default=sa.false()))
    _add("items", sa.Column("tries", sa.Integer))
    _add("items", sa.Column("rendered_bytes", sa.BigInteger))
    _add("items", sa.Column("cpu_ms", sa.Double))
    op.execute("UPDATE items SET tries = 1 WHERE tries IS NULL AND sha256 IS NOT NULL")
    op.drop_table("meta", if_exists=True)


def _add(table: str, column: sa.Column[object]) -> None:
    if column.name not in {each["name"] for each in sa.inspect(op.get_bind()).get_columns(table)}:
        op.add_column(table, column)

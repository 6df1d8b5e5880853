"""Batches by their end: who watches all of them asks for those at work and those that have just ended."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the index."""
    op.create_index("batches_by_end", "batches", ["finished_at"])

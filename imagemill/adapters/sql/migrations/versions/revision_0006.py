"""The trace context of the call that opened a batch: what becomes of its items is traced from there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add it; batches that are there are not traced."""
    op.add_column("batches", sa.Column("trace", sa.Text, nullable=False, server_default=""))

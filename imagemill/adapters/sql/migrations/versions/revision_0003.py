"""Whether what a batch left in the blob store has been swept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the mark; batches that ended before are swept once."""
    op.add_column("batches", sa.Column("swept", sa.Boolean, nullable=False, server_default=sa.false()))

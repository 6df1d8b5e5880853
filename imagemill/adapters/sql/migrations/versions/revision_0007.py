"""Which versions can work on the tables: from here on each step says it, and the database keeps it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
compatible_from = "0007"


def upgrade() -> None:
    """Add the table; whoever takes the steps writes into it."""
    op.create_table(
        "compatibility",
        sa.Column("revision", sa.Text, primary_key=True),
        sa.Column("compatible_from", sa.Text, nullable=False),
    )

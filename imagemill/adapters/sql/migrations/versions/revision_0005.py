"""Lives of the work queues in their order, how far the queues have moved, and what was ever put on them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add them; what is in flight counts as of an earlier life, and is claimed again."""
    op.create_table(
        "epochs",
        sa.Column("epoch", KEY, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("entered_at", sa.Double, nullable=False),
        sa.Column("asked_at", sa.Double, nullable=False),
        sa.Column("passed_until", sa.Double, nullable=False),
    )
    op.add_column("items", sa.Column("heard_at", sa.Double, nullable=False, server_default="0"))
    op.add_column("batches", sa.Column("dispatched", sa.BigInteger, nullable=False, server_default="0"))

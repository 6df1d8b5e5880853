"""An index of what ended without pictures, by the input's order: to list and retry it must not read all the rest."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
compatible_from = "0007"


def upgrade() -> None:
    """Add it."""
    condition = sa.text("state > 6")
    columns = ["batch_id", "idx"]
    op.create_index("items_unsuccessful", "items", columns, sqlite_where=condition, postgresql_where=condition)

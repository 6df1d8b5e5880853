"""An index of what was downloaded and ended without pictures: a sweep asks for it again and again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
compatible_from = "0007"


def upgrade() -> None:
    """Add it."""
    condition = sa.text("state > 6 AND sha256 IS NOT NULL")
    columns = ["batch_id", "sha256"]
    op.create_index("items_without_pictures", "items", columns, sqlite_where=condition, postgresql_where=condition)

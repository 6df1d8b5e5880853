"""The tables as the first mills made them, which kept no revision."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_COUNTS = (
    "pending",
    "queued",
    "downloading",
    "downloaded",
    "processing",
    "succeeded",
    "failed",
    "skipped",
    "cancelled",
)
_PENDING = sa.text("state = 1")
_IN_FLIGHT = sa.text("state BETWEEN 2 AND 5")
_SUCCEEDED = sa.text("state = 6")


def upgrade() -> None:
    """Make the tables and their indexes."""
    op.create_table("meta", sa.Column("key", sa.Text, primary_key=True), sa.Column("value", sa.Text, nullable=False))
    _create_batches()
    _create_items()
    op.create_table(
        "claims",
        sa.Column("token", _KEY, primary_key=True),
        sa.Column("epoch", sa.Text, nullable=False),
        sa.Column("claimed_at", sa.Double, nullable=False),
        sa.Column("published_at", sa.Double),
    )


def _create_batches() -> None:
    op.create_table(
        "batches",
        sa.Column("id", _KEY, primary_key=True),
        sa.Column("tenant", sa.Text, nullable=False, server_default=""),
        sa.Column("client_id", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=True, unique=True),
        sa.Column("state", sa.Integer, nullable=False),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("recipe", sa.Text, nullable=False),
        sa.Column("recipe_fingerprint", sa.Text, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("keep_originals", sa.Boolean, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        *(sa.Column(f"n_{name}", sa.BigInteger, nullable=False) for name in _COUNTS),
        sa.Column("downloaded_bytes", sa.BigInteger, nullable=False),
        sa.Column("duplicates", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double),
        sa.Column("finished_at", sa.Double),
        sa.Column("active_s", sa.Double, nullable=False),
        sa.Column("changed_at", sa.Double, nullable=False),
    )
    op.create_index("batches_by_age", "batches", ["created_at", "id"])
    op.create_index("batches_working", "batches", ["state", "created_at"])


def _create_items() -> None:
    op.create_table(
        "items",
        sa.Column("batch_id", _KEY, nullable=False),
        sa.Column("idx", sa.BigInteger, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("source_row", sa.BigInteger, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("state", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
        sa.Column("claims", sa.Integer, nullable=False, server_default="0"),
        sa.Column("claim_token", _KEY),
        sa.Column("due_at", sa.Double, nullable=False, server_default="0"),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("duplicate_of", sa.BigInteger),
        sa.Column("finished_at", sa.Double),
        sa.Column("error_code", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("http_status", sa.Integer),
        sa.Column("sha256", _KEY),
        sa.Column("size_bytes", sa.BigInteger),
        sa.Column("format", sa.Text),
        sa.Column("width", sa.Integer),
        sa.Column("height", sa.Integer),
        sa.Column("mode", sa.Text),
        sa.Column("original_key", sa.Text),
        sa.Column("original_status", sa.Integer),
        sa.Column("remarks", sa.Text),
        sa.Column("renders", sa.Text),
        *(sa.Column(f"{name}_ms", sa.Double) for name in ("download", "decode", "resize", "encode", "store")),
        sa.PrimaryKeyConstraint("batch_id", "idx"),
    )
    _create_partial_index("items_pending", ["batch_id", "due_at", "idx"], _PENDING)
    _create_partial_index("items_in_flight", ["batch_id", "due_at"], _IN_FLIGHT)
    _create_partial_index("items_by_digest", ["batch_id", "sha256", "idx"], _SUCCEEDED)
    op.create_index("items_by_revision", "items", ["batch_id", "revision"])


def _create_partial_index(name: str, columns: list[str], condition: sa.TextClause) -> None:
    op.create_index(name, "items", columns, sqlite_where=condition, postgresql_where=condition)

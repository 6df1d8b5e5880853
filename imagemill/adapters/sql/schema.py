"""The tables, for every dialect.

`due_at` is when an item not yet final wants work; a claim moves it to the end of its lease. Two partial indexes
carry that: items that wait, and the few in flight. A third carries the watch: items by revision. Two more find items by
what was downloaded for them: those with pictures, and those that ended without. The last one leads through all that
ended without, which are what one asks for and tries again. `heard_at` is when an item in flight was claimed or last
reported on.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    false,
    text,
)

from imagemill.domain.items import State

metadata = MetaData()

KEY = Text().with_variant(Text(collation="C"), "postgresql")
"""What rows are found by: in the order of its bytes, which is faster and stays when a language's order changes."""

COUNT_COLUMNS = tuple(f"n_{state.name.lower()}" for state in State)

UNSWEPT = text("NOT swept")

batches = Table(
    "batches",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("tenant", Text, nullable=False, server_default=""),
    Column("client_id", Text, nullable=False),
    Column("request_id", Text, nullable=True, unique=True),
    Column("state", Integer, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("recipe", Text, nullable=False),
    Column("recipe_fingerprint", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("keep_originals", Boolean, nullable=False),
    Column("keep_undecodable", Boolean, nullable=False, server_default=false()),
    Column("revision", BigInteger, nullable=False),
    Column("dispatched", BigInteger, nullable=False, server_default="0"),
    *(Column(name, BigInteger, nullable=False) for name in COUNT_COLUMNS),
    Column("downloaded_bytes", BigInteger, nullable=False),
    Column("duplicates", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("active_s", Double, nullable=False),
    Column("changed_at", Double, nullable=False),
    Column("swept", Boolean, nullable=False, server_default=false()),
    Column("trace", Text, nullable=False, server_default=""),
    Index("batches_by_age", "created_at", "id"),
    Index("batches_working", "state", "created_at"),
    Index("batches_by_end", "finished_at"),
    Index("batches_unswept", "finished_at", sqlite_where=UNSWEPT),
)

items = Table(
    "items",
    metadata,
    Column("batch_id", KEY, nullable=False),
    Column("idx", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("source_row", BigInteger, nullable=False),
    Column("host", Text, nullable=False),
    Column("state", Integer, nullable=False),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("claims", Integer, nullable=False, server_default="0"),
    Column("claim_token", KEY),
    Column("due_at", Double, nullable=False, server_default="0"),
    Column("heard_at", Double, nullable=False, server_default="0"),
    Column("revision", BigInteger, nullable=False),
    Column("duplicate_of", BigInteger),
    Column("finished_at", Double),
    Column("tries", Integer),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("http_status", Integer),
    Column("sha256", KEY),
    Column("size_bytes", BigInteger),
    Column("format", Text),
    Column("width", Integer),
    Column("height", Integer),
    Column("mode", Text),
    Column("original_key", Text),
    Column("original_status", Integer),
    Column("remarks", Text),
    Column("renders", Text),
    Column("rendered_bytes", BigInteger),
    Column("download_ms", Double),
    Column("decode_ms", Double),
    Column("resize_ms", Double),
    Column("encode_ms", Double),
    Column("store_ms", Double),
    Column("cpu_ms", Double),
    PrimaryKeyConstraint("batch_id", "idx"),
)

# Literal text, not bound values: SQLite uses a partial index only where the query repeats its condition.
_PENDING = text(f"state = {State.PENDING.value}")
_IN_FLIGHT = text(f"state BETWEEN {State.QUEUED.value} AND {State.PROCESSING.value}")
# `due_at` is never below 0. Asked for a batch alone, SQLite takes any index that begins with one, and reads all of it.
PENDING = text(f"{_PENDING.text} AND due_at >= 0")
IN_FLIGHT = text(f"{_IN_FLIGHT.text} AND due_at >= 0")
SUCCEEDED = text(f"state = {State.SUCCEEDED.value}")
WITHOUT_PICTURES = text(f"state > {State.SUCCEEDED.value}")
# The same in other words: asked for digests, a server that has not counted its rows would take either index.
UNSUCCESSFUL = text(f"state >= {State.FAILED.value}")
_DOWNLOADED = text(f"{WITHOUT_PICTURES.text} AND sha256 IS NOT NULL")
"""A query that asks for digests must not repeat this: SQLite would take it for the narrower term."""

Index("items_pending", items.c.batch_id, items.c.due_at, items.c.idx, sqlite_where=_PENDING)
Index("items_in_flight", items.c.batch_id, items.c.due_at, sqlite_where=_IN_FLIGHT)
Index("items_by_revision", items.c.batch_id, items.c.revision)
Index(
    "items_by_digest",
    items.c.batch_id,
    items.c.sha256,
    items.c.idx,
    sqlite_where=SUCCEEDED,
)
Index("items_without_pictures", items.c.batch_id, items.c.sha256, sqlite_where=_DOWNLOADED)
Index("items_unsuccessful", items.c.batch_id, items.c.idx, sqlite_where=UNSUCCESSFUL)

claims = Table(
    "claims",
    metadata,
    Column("token", KEY, primary_key=True),
    Column("epoch", Text, nullable=False),
    Column("claimed_at", Double, nullable=False),
    Column("published_at", Double),
)

# The lives of the work queues. The present one has the highest number: names and clocks don't tell.
epochs = Table(
    "epochs",
    metadata,
    Column("epoch", KEY, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("entered_at", Double, nullable=False),
    Column("asked_at", Double, nullable=False),
    Column("passed_until", Double, nullable=False),
)

# Which versions can work on the tables: one row for each revision that they were brought to.
compatibility = Table(
    "compatibility",
    metadata,
    Column("revision", Text, primary_key=True),
    Column("compatible_from", Text, nullable=False),
)

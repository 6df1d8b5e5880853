"""What Alembic runs: the steps, on the connection that it was given, inside the transaction that is open there."""

from __future__ import annotations

from alembic import context

from imagemill.adapters.sql.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()

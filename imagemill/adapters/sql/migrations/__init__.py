"""The steps from each revision of the tables to the next, run by Alembic; `adapters.sql.migration` starts it."""

"""How hints of changes travel."""

from __future__ import annotations

from imagemill.adapters.local_changes import LocalChanges
from imagemill.ports.changes import Changes


def open_changes() -> Changes:
    """Hints inside this process."""
    return LocalChanges()

"""The whole mill in one process tree: the same four services on an in-process broker and SQLite."""

from __future__ import annotations

from imagemill.embedded.folder import MachineTooSmall, MillInUse, StateUnreadable
from imagemill.embedded.listening import AddressUnusable
from imagemill.embedded.mill import Mill, open_mill
from imagemill.embedded.settings import EmbeddedSettings

__all__ = [
    "AddressUnusable",
    "EmbeddedSettings",
    "MachineTooSmall",
    "Mill",
    "MillInUse",
    "StateUnreadable",
    "open_mill",
]

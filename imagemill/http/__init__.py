"""The one guarded HTTP client: downloads and webhooks use it, and nothing else talks to strangers."""

from __future__ import annotations

from imagemill.http import lean as lean  # first, before others import it in full
from imagemill.http.client import Answer, GuardedClient
from imagemill.http.settings import HttpSettings
from imagemill.http.turns import Deadline

__all__ = ["Answer", "Deadline", "GuardedClient", "HttpSettings"]

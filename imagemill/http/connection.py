"""aiohttp's connections, put right in two points where a lying server could do harm.

aiohttp has no hook for it, so this leans on three of its inner names: `BaseConnector._factory`,
`ResponseHandler._payload` and `is_connected`. Tests with such servers notice when one of them changes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError

from imagemill.http.errors import MalformedFraming


class WatchfulConnector(aiohttp.TCPConnector):
    """Makes connections that are watched."""

    def __init__(self, **options: Any) -> None:  # those of TCPConnector
        super().__init__(**options)
        make: Callable[..., ResponseHandler] = _WatchedConnection
        self._factory = partial(make, loop=self._loop)


class _WatchedConnection(ResponseHandler):
    def is_connected(self) -> bool:
        """Say no when an answer has come that nobody asked for: it would be taken for the next request's."""
        return super().is_connected() and not self._buffer

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        """Tell the body's reader too that its framing is malformed; otherwise it waits until its deadline."""
        super().set_exception(exc, *cause)
        body = self._payload
        if isinstance(exc, HttpProcessingError) and body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(MalformedFraming(), exc)

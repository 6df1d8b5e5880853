"""Imports aiohttp without the certificates that it reads as it is imported, 25 ms at every start.

They are for a context of aiohttp's own that no request uses: `transport` hands in another for each https URL.
"""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def _no_certificates() -> Iterator[None]:
    load = ssl.SSLContext.load_default_certs
    ssl.SSLContext.load_default_certs = lambda *_: None  # type: ignore[method-assign]  # for one import
    try:
        yield
    finally:
        ssl.SSLContext.load_default_certs = load  # type: ignore[method-assign]  # as it was


with _no_certificates():
    import aiohttp as aiohttp

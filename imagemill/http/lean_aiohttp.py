"""Imports aiohttp without the certificates that it reads as it is imported, 45 ms at every start.

They are for two contexts of aiohttp's own that no request uses: `transport` hands in another for each https URL.
"""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_READING = ("load_default_certs", "set_default_verify_paths")


@contextmanager
def _no_certificates() -> Iterator[None]:
    """For one import, have no context read any; afterwards all is as it was."""
    own = {name: ssl.SSLContext.__dict__.get(name) for name in _READING}
    for name in _READING:
        setattr(ssl.SSLContext, name, lambda *_: None)
    try:
        yield
    finally:
        for name, method in own.items():
            if method is None:  # it was inherited
                delattr(ssl.SSLContext, name)
            else:
                setattr(ssl.SSLContext, name, method)


with _no_certificates():
    import aiohttp as aiohttp

"""Imports aiohttp and httpx without what neither needs here, 45 ms each at every start.

aiohttp reads certificates as it is imported, for two contexts of its own that no request uses: `transport` hands in
another for each https URL. httpx imports a command of its own wherever click is installed, and rich with it.
"""

from __future__ import annotations

import ssl
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_READING = ("load_default_certs", "set_default_verify_paths")
_COMMAND = "httpx._main"


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


@contextmanager
def _no_command() -> Iterator[None]:
    """For one import, have httpx find its command's libraries missing, which it bears."""
    if _COMMAND in sys.modules:
        yield
        return
    sys.modules[_COMMAND] = None  # type: ignore[assignment]  # how the import system spells "not to be found"
    try:
        yield
    finally:
        del sys.modules[_COMMAND]


with _no_certificates():
    import aiohttp as aiohttp
with _no_command():
    import httpx as httpx

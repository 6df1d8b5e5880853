"""What is wrong with a PostgreSQL server, in words of ours: safe to log, and with what to do where that is known."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from imagemill.ports.records import RecordsUnavailable
from imagemill.ports.unavailable import UrlUnusable

TROUBLE = (
    *(DBAPIError, PoolTimeout, OSError),
    *(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError),
)
"""What SQLAlchemy, the network and the driver raise when a statement can't be run; time that is over is an OSError.

The last one is said of a connection that was lost in the middle of an answer."""

_BY_CODE = {
    "28P01": "refuses the user or the password",
    "28000": "refuses this user from this address; see its pg_hba.conf",
    "3D000": "has no database of that name; create it with createdb",
    "42P01": "lacks tables; run `imagemill migrate`",
    "42703": "has tables of another version; run `imagemill migrate`",
    "42501": "does not allow this user to use its tables",
    "53100": "has no space left on its disk",
    "53300": "takes no more connections; raise its max_connections",
    "55P03": "kept a unit waiting too long for rows that another one holds",
    "57014": "took too long",
    "57P03": "is starting up or shutting down",
    "25006": "only reads; it may be a standby",
    "40P01": "had two units wait for each other",
    "23505": "was written by another unit in the same moment",
}
"""What is said for an SQLSTATE."""
_IMPOSSIBLE = ("22", "23", "54")
"""The classes of those about values: they don't fit their type, break a constraint, or exceed a limit of the server."""


@contextmanager
def telling(place: str) -> Iterator[None]:
    """Raise `RecordsUnavailable`, which names the place, in place of whatever else says that it can't be used.

    What says that values can't be stored stays as it is: the same statement would be refused for ever.
    """
    try:
        yield
    except TROUBLE as error:
        if _refuses_values(error):
            raise
        raise RecordsUnavailable(f"the database at {place} {explained(error)}") from error


def explained(error: BaseException) -> str:
    """What is wrong, as the end of a sentence that begins with the server."""
    code = _code(error)
    if code is not None:
        return _BY_CODE.get(code, f"refused a statement (SQLSTATE {code})")
    match _driver_error(error):
        case asyncpg.exceptions.ClientConfigurationError():
            return (
                "can't be reached: its URL asks for what the driver does not know; check what follows the question mark"
            )
        case socket.gaierror():
            return "can't be reached: nobody knows that name"
        case ssl.SSLError():
            return "can't be reached: the TLS connection failed; check its certificate, and sslmode in the URL"
        case PoolTimeout():
            return "had all its connections in use for too long"
        case TimeoutError():
            return "does not answer in time"
        case ConnectionError() as refused if "SSL" in str(refused):
            return "offers no TLS, which sslmode in the URL asks for"
        case OSError(errno=int(number)):
            return f"can't be reached: {os.strerror(number)}"
    return "can't be reached, or hung up"


def _refuses_values(error: BaseException) -> bool:
    """Whether the server, or the driver before it, takes the statement's values for impossible, and not its moment."""
    code = _code(error)
    if code is not None:
        return code.startswith(_IMPOSSIBLE) and code not in _BY_CODE
    match _driver_error(error):
        case asyncpg.exceptions.ClientConfigurationError():
            return False
        case asyncpg.InterfaceError() as unsent:
            # The driver's own words for what it can't put into a message; its class for that is not public.
            return isinstance(unsent, ValueError)
    return False


def _code(error: BaseException) -> str | None:
    code = getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)
    return code if isinstance(code, str) else None


def _driver_error(error: BaseException) -> BaseException | None:
    """What the driver raised, below what SQLAlchemy made of it."""
    return error.orig.__cause__ if isinstance(error, DBAPIError) and error.orig is not None else error


def place_of(url: str) -> str:
    """Which server and database a URL means, without its user and password.

    Raises:
        UrlUnusable: it can't be read; the text holds nothing of it.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _unreadable() from None
    # A password with a character that ends the address leaves what is behind it elsewhere.
    if parts.fragment or ("@" in url and "@" not in parts.netloc):
        raise _unreadable()
    server = f"{host or 'localhost'}:{port or 5432}"
    return f"{server}{unquote(parts.path)}" if parts.path.strip("/") else server


def _unreadable() -> UrlUnusable:
    return UrlUnusable(
        "The URL of the database can't be read. It has the form postgresql://user:password@host:5432/database; "
        "characters such as @ : / ? # in the password are written percent-encoded."
    )

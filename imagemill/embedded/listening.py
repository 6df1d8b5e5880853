"""Where an embedded mill is reached from outside: looked at before anything is started."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

_REASONS = {
    errno.EADDRINUSE: "something else listens there, perhaps another mill",
    errno.EADDRNOTAVAIL: "no network card of this machine has that address",
    errno.EACCES: "ports below 1024 need the administrator's rights",
}


class AddressUnusable(Exception):
    """An address can't be listened on; the text says why, in words for its owner."""


def free_address(listen: str) -> str:
    """Return `listen` when it can be listened on; port 0 becomes a free one.

    It is `host:port`, `[host]:port` or `unix:path`.
    Raises `AddressUnusable`, also for what is no address.
    """
    if listen.startswith("unix:"):
        return _free_socket(listen)
    host, _, port = listen.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not bare or not (port.isascii() and port.isdecimal() and int(port) <= 65535) or (":" in bare and bare == host):
        raise AddressUnusable(f"{listen!r} is no address; write it like 127.0.0.1:50051 or [::1]:50051.")
    try:
        found = socket.getaddrinfo(bare, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as trial:
            # As the server does it: connections of a mill that was killed don't keep the next one out.
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
            trial.listen()
            return f"{host}:{trial.getsockname()[1]}"
    except socket.gaierror as error:
        raise AddressUnusable(f"{listen} can't be listened on: there is no host {bare!r}.") from error
    except OSError as error:
        reason = _REASONS.get(error.errno or 0) or os.strerror(error.errno or errno.EIO)
        raise AddressUnusable(f"{listen} can't be listened on: {reason}.") from error


def _free_socket(listen: str) -> str:
    """Return the address of a socket that nobody listens on; one that a mill left behind is taken over."""
    path = Path(listen.removeprefix("unix:"))
    try:
        if not path.parent.is_dir():
            raise AddressUnusable(f"{listen} can't be listened on: there is no folder {path.parent}.")
        if path.exists() and not path.is_socket():
            raise AddressUnusable(f"{listen} can't be listened on: the file there is no socket.")
        with socket.socket(socket.AF_UNIX) as trial:
            trial.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError):
        return listen
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "its path is too long"
        raise AddressUnusable(f"{listen} can't be listened on: {reason}.") from error
    raise AddressUnusable(f"{listen} can't be listened on: {_REASONS[errno.EADDRINUSE]}.")

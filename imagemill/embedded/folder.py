"""The folder of an embedded mill: one mill at a time, and a socket that fits."""

from __future__ import annotations

import fcntl
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST_SOCKET_PATH = 100
"""Bytes; the kernel takes 108."""


class MillInUse(Exception):
    """Another mill works in this folder."""


class MachineTooSmall(Exception):
    """The settings ask for more than this machine allows; the text says what, and what to do."""


class StateUnreadable(Exception):
    """The folder's state can't be used; the text says why, in words for its owner."""


@contextmanager
def locked_folder(home: Path) -> Iterator[None]:
    """Keep a second mill out for as long as the context lasts; the lock dies with its process.

    Raises `MillInUse`, `StateUnreadable`.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StateUnreadable(f"The folder {home} can't be written: {error.strerror}.") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise MillInUse(f"Another mill is at work in {home}; wait for it, or use another folder.") from error
        yield
    finally:
        os.close(descriptor)


def allow_files(number: int) -> None:
    """Raise this process's limit of open files to what is needed. Raises `MachineTooSmall`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < number:
        raise MachineTooSmall(
            f"So many downloads and connections at a time need {number:,} open files, "
            f"and this machine allows {hard:,}; ask for fewer, or raise the limit (ulimit -Hn)."
        )
    if soft != resource.RLIM_INFINITY and soft < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


@contextmanager
def socket_target(home: Path, name: str) -> Iterator[str]:
    """The gRPC target of a unix socket in the folder, however long the folder's path is, and though it be no text."""
    path = home / f"{name}.sock"
    path.unlink(missing_ok=True)
    folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # The kernel takes short paths only, as they are given, and gRPC only text; through the open folder it is both.
        yield f"unix:{path.absolute()}" if _fits(path) else f"unix:/proc/self/fd/{folder}/{name}.sock"
    finally:
        os.close(folder)
        path.unlink(missing_ok=True)


def _fits(socket: Path) -> bool:
    path = os.fsencode(socket.absolute())
    return len(path) <= LONGEST_SOCKET_PATH and path.decode(errors="ignore").encode() == path

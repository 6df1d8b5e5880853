"""A private PostgreSQL: a free port, data in a temporary folder, a user that is not root.

It leaves nothing behind. A test may kill it, freeze it, and start it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import asyncpg
import psutil

from tests.support.eventually import eventually_blocking
from tests.support.processes import Program

T = TypeVar("T")

URL_VARIABLE = "IMAGEMILL_TEST_DATABASE_URL"
START_S = 60.0
"""How long the server may take to start, in seconds; it takes about a half, and longer after a kill."""
PASSWORD = "s3cret:/@?#%"
"""One that a URL can't hold as it is."""
_UNSYNCED = ("fsync=off", "full_page_writes=off")
"""What a commit wrote survives the death of every process; that of the machine is not tested."""
_AT_REST = (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
_SETTINGS = (
    "listen_addresses=127.0.0.1",
    "max_connections=200",
    "shared_buffers=64MB",
    # In its data folder: what lies in the machine's memory would stay there for ever when the server is killed.
    "dynamic_shared_memory_type=mmap",
)


class ServerMissing(Exception):
    """PostgreSQL is not installed; the text says what to do."""

    def __init__(self, program: str) -> None:
        super().__init__(
            f"The tests need PostgreSQL 14 or newer, and {program} is nowhere to be found. On Debian and Ubuntu run "
            f"tools/servers.sh (make test does); elsewhere install PostgreSQL, or name a running one: "
            f"{URL_VARIABLE}=postgresql://user:password@host:5432/database"
        )


class PostgresNode:
    """A server at work, from its construction on; `destroy` ends it."""

    def __init__(self, *, durable: bool = False) -> None:
        """Start a server and wait until it takes connections; a `durable` one survives the death of the machine too.

        Raises:
            ServerMissing: there is no PostgreSQL on this machine.
        """
        self._initdb, self._postgres, self._ready, self._psql = map(
            program_path, ("initdb", "postgres", "pg_isready", "psql")
        )
        # Not in a folder of pytest's: nobody but its owner may enter those, and PostgreSQL does not run as root.
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._port = _free_port()
        self._settings = _SETTINGS if durable else (*_UNSYNCED, *_SETTINGS)
        self._program: Program | None = None
        self._frozen: Sequence[psutil.Process] = ()
        try:
            self._make_cluster()
            self.start()
            self.url("mill", create=True)
        except BaseException:
            self.destroy()
            raise

    @property
    def pid(self) -> int:
        """The id of its first process."""
        return self._running().pid

    def url(self, database: str = "mill", *, create: bool = False) -> str:
        """Where a database is; with `create` it is made first, empty."""
        if create:
            self.run_sql(f'CREATE DATABASE "{database}"')
        return f"postgresql://mill:{quote(PASSWORD, safe='')}@127.0.0.1:{self._port}/{database}"

    def start(self) -> None:
        """Start it, or start it again with the data it has."""
        settings = [word for each in (*self._settings, f"port={self._port}") for word in ("-c", each)]
        sockets = ["-c", f"unix_socket_directories={self._folder}"]
        command = [*_unprivileged(), self._postgres, "-D", str(self._folder / "data"), *settings, *sockets]
        self._program = Program(command, self._folder)
        self._program.wait_until(self._takes_connections, START_S)

    def kill(self) -> int:
        """End all its processes as a power cut would, and see that they are dead; returns the id of the first."""
        program, family = self._running(), self._stopped_family()
        # The first one first: it would end or replace the others.
        program.send(signal.SIGKILL)
        ended = program.ended()
        assert ended.code == -signal.SIGKILL, ended.said
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        # As long as one of them lives, the shared memory does, and the server would not start again.
        eventually_blocking(lambda: not any(_lives(process) for process in family), timeout_s=START_S, pause_s=0.001)
        self._frozen = ()
        return program.pid

    def freeze(self) -> None:
        """Stop all its processes where they are."""
        self._frozen = self._stopped_family()
        for process in self._frozen:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()

    def thaw(self) -> None:
        """Let a frozen server go on."""
        for process in self._frozen:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
        self._frozen = ()
        self._running().send(signal.SIGCONT)

    def run_sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement as the server's owner; returns what it prints."""
        done = subprocess.run(
            [self._psql, "-h", "127.0.0.1", "-p", str(self._port), "-U", "mill", "-tAXc", statement, database],
            env={**os.environ, "PGPASSWORD": PASSWORD},
            capture_output=True,
            text=True,
            timeout=START_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def destroy(self) -> None:
        """End it and everything it has started, and remove its data."""
        if self._program is not None and self._program.running:
            self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _running(self) -> Program:
        assert self._program is not None
        return self._program

    def _stopped_family(self) -> list[psutil.Process]:
        """Stop the first process alone, and find those it has started, which is all there are until it goes on."""
        program = self._running()
        program.send(signal.SIGSTOP)
        # Before it has stopped it may start another, which would be missed, and live on.
        eventually_blocking(lambda: psutil.Process(program.pid).status() in _AT_REST, timeout_s=START_S, pause_s=0.001)
        # Not by their environment: the server's processes write their titles over it.
        return program.children()

    def _make_cluster(self) -> None:
        password = self._folder / "password"
        password.write_text(PASSWORD)
        if os.geteuid() == 0:
            owner = _unprivileged_user()
            for path in (self._folder, password):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        settings = ["--username=mill", "--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8"]
        place = ["-D", str(self._folder / "data"), "--no-locale", "--no-sync"]
        command = [*_unprivileged(), self._initdb, *settings, *place]
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_S, cwd=self._folder)
        assert done.returncode == 0, done.stdout + done.stderr

    def _takes_connections(self) -> bool:
        command = [self._ready, "-q", "-h", "127.0.0.1", "-p", str(self._port)]
        return subprocess.run(command, timeout=START_S).returncode == 0


@contextlib.contextmanager
def own_schema(url: str) -> Iterator[str]:
    """The URL of a new schema in a database, dropped afterwards: tests leave what else is in it alone."""
    name = f"imagemill_{uuid.uuid4().hex}"
    run_sql(url, f"CREATE SCHEMA {name}")
    try:
        yield f"{url}{'&' if '?' in url else '?'}search_path={name}"
    finally:
        run_sql(url, f"DROP SCHEMA {name} CASCADE")


def run_sql(url: str, statements: str) -> None:
    """Run statements, in a connection of their own."""

    async def run() -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(statements)
        finally:
            await connection.close()

    run_apart(run())


def run_apart(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, also where a loop is running already: fixtures are made in the middle of one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def _lives(process: psutil.Process) -> bool:
    # One that ended is a zombie until whoever inherited it asks after it, and that may be never.
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _unprivileged() -> list[str]:
    """What makes a command run as somebody else where this process is root."""
    if os.geteuid() != 0:
        return []
    owner = _unprivileged_user()
    return ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]


def _unprivileged_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise AssertionError("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as.")


def program_path(name: str) -> str:
    """The newest there is; Debian keeps them out of the PATH, a folder a major version."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    found = shutil.which(name, path=os.pathsep.join((*map(str, debian), os.environ.get("PATH", ""))))
    if found is None:
        raise ServerMissing(name)
    return found


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])

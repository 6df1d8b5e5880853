"""The services of a mill as real processes, on a real broker and database, any of which may be killed.

Each service has as many replicas as is asked for; replica 1 of each speaks to replica 1 of storage, and so on.
"""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aio_pika
import asyncpg
import grpc
from aio_pika.exceptions import ChannelNotFoundEntity
from grpc_health.v1 import health_pb2, health_pb2_grpc

from imagemill import strikes
from imagemill.adapters.blobs import LocalBlobs
from imagemill.ports.broker import Queue
from imagemill.wiring.records import migrate_records
from tests.support.eventually import eventually_blocking
from tests.support.postgres_node import own_schema, run_apart
from tests.support.processes import Program

IMAGEMILL = str(Path(sys.executable).with_name("imagemill"))
SERVICES = ("storage", "gateway", "downloader", "processor")
"""In the order in which they are started."""
START_S = 40.0
SMALL = {"DOWNLOADS": "16", "PER_HOST": "16", "CHILDREN": "1", "ALLOW_NETS": "127.0.0.0/8", "GRACE_S": "2"}
"""Settings that fit a machine which has all of it to bear."""


class Cluster:
    """Services that are started, asked, killed and started again by their names, such as `gateway-1`."""

    def __init__(
        self, folder: Path, broker_url: str, database_url: str, replicas: int, told: Mapping[str, str]
    ) -> None:
        self.folder = folder
        self.database_url = database_url
        self.broker_url = broker_url
        self.blobs = folder / "blobs"
        self.members = [f"{service}-{number}" for service in SERVICES for number in range(1, replicas + 1)]
        self.programs: dict[str, Program] = {}
        self.past: list[Program] = []
        """Programs that have ended, or were made to."""
        self._told = {**SMALL, **told}
        self._ports = dict(zip(self.members, free_ports(len(self.members)), strict=True))

    @property
    def target(self) -> str:
        """Where the first gateway listens."""
        return self.target_of("gateway-1")

    def target_of(self, member: str) -> str:
        """Where a service listens."""
        return f"127.0.0.1:{self._ports[member]}"

    def environment(self, member: str) -> dict[str, str]:
        """What a service is told."""
        number = member.rpartition("-")[2]
        told = {
            "LISTEN": self.target_of(member),
            "BROKER_URL": self.broker_url,
            "DATABASE_URL": self.database_url,
            "BLOB_URL": f"file://{self.blobs}",
            "STORAGE_TARGET": self.target_of(f"storage-{number}"),
            **self._told,
        }
        return {f"IMAGEMILL_{name}": value for name, value in told.items()}

    def tell(self, told: Mapping[str, str]) -> bool:
        """Set settings of all services, by the names of their variables; whether any is another than before."""
        before, self._told = self._told, {**self._told, **told}
        return before != self._told

    def start(self, *members: str, strike: str = "") -> None:
        """Start services, all of them if none is named, without waiting for them; with `strike` they die there."""
        for member in members or self.members:
            assert member not in self.programs, member
            command = [IMAGEMILL, member.rpartition("-")[0]]
            told = self.environment(member) | ({strikes.VARIABLE: strike} if strike else {})
            self.programs[member] = Program(command, self.folder, environment=told)

    def until_serving(self, *members: str, timeout_s: float = START_S) -> None:
        """Wait until services, all that run if none is named, report SERVING."""
        for member in members or list(self.programs):
            self.programs[member].wait_until(partial(self.serves, member), timeout_s)

    def serves(self, member: str) -> bool | None:
        """Whether a service reports SERVING; None when it does not answer."""
        with grpc.insecure_channel(self.target_of(member)) as channel:
            try:
                answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2.0)
            except grpc.RpcError:
                return None
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def kill(self, member: str) -> Program:
        """End a service's first process on the spot, and see that everything it had started ends."""
        self.programs[member].send(signal.SIGKILL)
        return self.bury(member)

    def bury(self, member: str) -> Program:
        """See that a service was ended by SIGKILL, and that everything it had started ends."""
        program = self.programs.pop(member)
        self.past.append(program)
        ended = program.ended(5.0)
        assert ended.code == -signal.SIGKILL, f"{member}: {ended.said}"
        eventually_blocking(lambda: not program.family(), timeout_s=5.0)
        return program

    def stop(self, *members: str) -> None:
        """Ask services, all that run if none is named, to end in good order, and see that they do."""
        leaving = [(member, self.programs.pop(member)) for member in members or list(self.programs)[::-1]]
        for _, program in leaving:
            self.past.append(program)
            program.send(signal.SIGTERM)
        for member, program in leaving:
            ended = program.ended(20.0)
            assert ended.code == 0, f"{member}: {ended.said}"

    def log(self, member: str) -> str:
        """What a running service has logged so far."""
        return self.programs[member].err

    def logs(self) -> str:
        """What everything that was ever started here has logged."""
        return "\n".join(program.err for program in (*self.past, *self.programs.values()))

    def rows(self, query: str) -> list[asyncpg.Record]:
        """Look into the database."""

        async def fetch() -> list[asyncpg.Record]:
            connection = await asyncpg.connect(self.database_url)
            try:
                return list(await connection.fetch(query))
            finally:
                await connection.close()

        return run_apart(fetch())

    def stored(self, prefix: str = "batches/") -> list[str]:
        """The keys in the blob store."""
        return sorted(LocalBlobs(self.blobs).keys(prefix)) if self.blobs.exists() else []

    def scratch(self) -> list[Path]:
        """Files that somebody has left half done."""
        return [path for path in (self.blobs / "scratch").rglob("*") if path.is_file()]

    def strays(self) -> list[Any]:
        """Living processes of services that have ended."""
        return [process for program in self.past for process in program.family()]

    def destroy(self) -> None:
        """Leave nothing running."""
        for program in (*self.past, *self.programs.values()):
            program.destroy()


@contextmanager
def open_cluster(
    folder: Path,
    broker_url: str,
    database_url: str,
    *,
    replicas: int = 1,
    told: Mapping[str, str] | None = None,
    kind: type[Cluster] = Cluster,
) -> Iterator[Cluster]:
    """Give a mill that is not started yet, with empty queues and tables of its own."""
    run_apart(empty_queues(broker_url))
    with own_schema(database_url) as schema:
        run_apart(migrate_records(schema))
        cluster = kind(folder, broker_url, schema, replicas, told or {})
        try:
            yield cluster
        finally:
            cluster.destroy()


async def empty_queues(url: str) -> None:
    """Take away what an earlier mill has left on the queues."""
    names = [f"{queue}{kind}" for queue in Queue for kind in ("", ".dead", ".buried")]
    async with await aio_pika.connect(url) as connection:
        for name in names:
            channel = await connection.channel()
            try:
                await (await channel.get_queue(name, ensure=False)).purge()
            except ChannelNotFoundEntity:
                return  # no mill has been here yet
            await channel.close()


def free_ports(number: int) -> Sequence[int]:
    """Ports of this machine that nobody listens on yet."""
    sockets = [socket.socket() for _ in range(number)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()

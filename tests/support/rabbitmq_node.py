"""A private RabbitMQ node: free ports, data in a folder of the test's, an Erlang cookie and a port mapper of its own.

It meets no other node of the machine and leaves nothing behind. A test may kill it, wipe it, and start it again.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.processes import Program

URL_VARIABLE = "IMAGEMILL_TEST_BROKER_URL"
START_S = 60.0
"""How long a node may take to start, in seconds; it takes about 5."""
_PLACES = ("/usr/lib/rabbitmq/bin", "/usr/local/lib/rabbitmq/bin", "/usr/local/sbin", "/usr/sbin")
"""Where the programs lie. Debian's in /usr/sbin come last: they change the user, who can't write a test's folder."""


class ServerMissing(Exception):
    """RabbitMQ is not installed; the text says what to do."""

    def __init__(self, program: str) -> None:
        super().__init__(
            f"The tests need RabbitMQ 3.10 or newer, and {program} is nowhere to be found. On Debian and Ubuntu run "
            f"tools/servers.sh (make test does); elsewhere install RabbitMQ, or name a running one: "
            f"{URL_VARIABLE}=amqp://user:password@host:5672/"
        )


class RabbitNode:
    """A node at work, from its construction on; `destroy` ends it."""

    def __init__(self, folder: Path) -> None:
        """Start a node and wait until it takes connections.

        Raises:
            ServerMissing: there is no RabbitMQ on this machine.
        """
        self._folder = folder
        self._port, self._dist_port, self._mapper_port = _free_ports(3)
        self._environment = self._prepared()
        self._mapper = subprocess.Popen(
            [program_path("epmd"), "-address", "127.0.0.1", "-port", str(self._mapper_port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._program: Program | None = None
        try:
            self.start()
        except BaseException:
            self.destroy()
            raise

    @property
    def url(self) -> str:
        """Where it takes connections."""
        return f"amqp://guest:guest@127.0.0.1:{self._port}/"

    @property
    def pid(self) -> int:
        """The id of its first process."""
        return self._running().pid

    def start(self) -> None:
        """Start it, or start it again with the data it has."""
        assignments = [f"{name}={value}" for name, value in self._environment.items()]
        program = Program(["env", *assignments, program_path("rabbitmq-server")], self._folder)
        self._program = program
        program.wait_until(self._takes_connections, START_S)

    def kill(self) -> int:
        """End it as a power cut would, and see that it is dead; returns the id of its first process."""
        program = self._running()
        program.send_group(signal.SIGKILL)
        ended = program.ended()
        assert ended.code == -signal.SIGKILL, ended.said
        program.destroy()
        return program.pid

    def freeze(self) -> None:
        """Stop all its processes where they are."""
        self._running().send_group(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen node go on."""
        self._running().send_group(signal.SIGCONT)

    def wipe(self) -> None:
        """Lose everything that a node which is not running has stored."""
        shutil.rmtree(self._folder / "mnesia")

    def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl`; returns what it prints. Takes about a second."""
        done = subprocess.run(
            [program_path("rabbitmqctl"), "--quiet", *arguments],
            env={**os.environ, **self._environment},
            capture_output=True,
            text=True,
            timeout=START_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def destroy(self) -> None:
        """End it and everything it has started."""
        if self._program is not None:
            self._program.destroy()
        self._mapper.kill()
        self._mapper.wait()

    def _running(self) -> Program:
        assert self._program is not None
        return self._program

    def _prepared(self) -> Mapping[str, str]:
        home = self._folder / "home"
        home.mkdir(parents=True)
        (self._folder / "plugins").write_text("[].")
        (self._folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.default = 127.0.0.1:{self._port}\ndisk_free_limit.absolute = 50MB\n"
        )
        return {
            "HOME": str(home),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._mapper_port),
            "RABBITMQ_NODENAME": f"mill-{self._port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_PID_FILE": str(self._folder / "node.pid"),
            # One machine has to bear it beside the mill: idle schedulers must not spin.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
        }

    def _takes_connections(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1.0) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                # The greeting comes only from a node that has booted: a method frame on channel 0.
                return connection.recv(3) == b"\x01\x00\x00"
        except OSError:
            return False


def program_path(name: str) -> str:
    """Debian keeps the server's own programs out of the PATH."""
    path = os.pathsep.join((*_PLACES, os.environ.get("PATH", "")))
    found = shutil.which(name, path=path)
    if found is None:
        raise ServerMissing(name)
    return found


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()

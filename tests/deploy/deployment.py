"""`deploy/compose.yaml` on a real engine, as a project of its own of which nothing stays.

Whichever Compose there is is used; images come from where its user gets them, and by the same variables. What the build
has downloaded stays in the engine's cache, as after every build.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml

from imagemill.client import MillClient
from imagemill.v1.batch_pb2 import Batch
from tests.guards.tree import ROOT
from tests.support.eventually import eventually_blocking
from tests.support.postgres_node import run_apart
from tests.support.processes import Ended, Program

IMAGEMILL = str(Path(sys.executable).with_name("imagemill"))
SERVICES = ("gateway", "downloader", "processor", "storage")
PORT = 8000
"""Where the host of pictures listens, see picture_host.py."""
HOST = f"http://pictures:{PORT}"
SETTLE_S = 180.0
"""How long anything may take to stand again on a machine with other things to do."""

_PRIVATE = "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"
_KILL_THE_SERVICE = """
import os, signal
[service] = open("/proc/1/task/1/children").read().split()
os.kill(int(service), signal.SIGKILL)
"""


class NoEngine(Exception):
    """Nothing here can run a deployment; the text says what is missing."""


class Deployment:
    """A mill as Compose runs it, asked from outside."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = f"imagemill-test-{uuid.uuid4().hex[:8]}"
        self.image = f"{self.project}:latest"
        self.target = f"localhost:{_free_port()}"
        self.programs: list[Program] = []
        self._command = [*compose_command(), "--env-file", str(ROOT / "deploy" / ".env.example")]
        for file in ("deploy/compose.yaml", "tests/deploy/pictures.yaml"):
            self._command += ["--file", str(ROOT / file)]
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("COMPOSE_", "IMAGEMILL_"))},
            "COMPOSE_PROJECT_NAME": self.project,
            "MILL_IMAGE": self.image,
            "MILL_PORT": self.target.rpartition(":")[2],
            "ALLOW_NETS": _PRIVATE,
            "PER_HOST": "4",
            "CHILDREN": "1",
            "TEST_PICTURES": str(ROOT / "tests" / "deploy" / "picture_host.py"),
        }

    def compose(self, *words: str, stdin: str = "", timeout_s: float = SETTLE_S) -> str:
        """Do something with the project, and return what is said on standard output."""
        return _said([*self._command, *words], self._environment, stdin, timeout_s)

    def plan(self) -> Mapping[str, Mapping[str, object]]:
        """What Compose makes of the files: each service that `up` starts, as it will be."""
        services: Mapping[str, Mapping[str, object]] = yaml.safe_load(self.compose("config"))["services"]
        return {name: service for name, service in services.items() if not service.get("profiles")}

    def up(self, *words: str, timeout_s: float = SETTLE_S) -> None:
        """Start what does not run, without waiting until it can be used."""
        self.compose("up", "--detach", *words, timeout_s=timeout_s)

    def until_healthy(self) -> None:
        """Wait until every container is what its health check wants."""
        eventually_blocking(lambda: not self.ailing(), timeout_s=SETTLE_S, pause_s=0.2)

    def ailing(self) -> list[str]:
        """The containers that are to be healthy and are not."""
        ids = self.compose("ps", "--quiet").split()
        states = [
            json.loads(line) for line in docker("inspect", "--format", "{{json .State.Health}}", *ids).split("\n")
        ]
        return [one for one, state in zip(ids, states, strict=True) if state and state["Status"] != "healthy"]

    def containers(self, service: str) -> list[str]:
        """The ids of a service's containers, the killed ones too, which Compose 2 leaves out by itself."""
        return self.compose("ps", "--all", "--quiet", service).split()

    def address(self, service: str) -> str:
        """A service's address in the one network that it has."""
        found = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return docker("inspect", "--format", found, self.containers(service)[0])

    def crash(self, service: str) -> None:
        """End one container's service on the spot, from within; whether it returns is the restart policy's affair."""
        container = self.containers(service)[0]
        before = _restarts(container)
        # The container's end may reach what runs in it before that has ended by itself.
        ending = subprocess.run(
            ["docker", "exec", container, "python", "-c", _KILL_THE_SERVICE], timeout=60, check=False
        )
        assert ending.returncode in (0, 128 + signal.SIGKILL)
        eventually_blocking(lambda: _restarts(container) > before, timeout_s=SETTLE_S, pause_s=0.05)

    def kill(self, service: str) -> None:
        """Kill a service's container, which no policy starts again, and start it as its keeper would."""
        self.compose("kill", service)
        assert docker("inspect", "--format", "{{.State.Running}}", self.containers(service)[0]) == "false"
        self.compose("start", service)

    def imagemill(self, *words: str, stdin: str = "") -> Program:
        """Run the command on this machine, against the published port."""
        program = Program([IMAGEMILL, *words, "--to", self.target], self.folder, stdin=stdin.encode())
        self.programs.append(program)
        return program

    def inside(self, service: str, script: str) -> str:
        """Run a few lines of Python in a service's first container."""
        return docker("exec", self.containers(service)[0], "python", "-c", script)

    def batch(self, name: str) -> Batch:
        """How far a batch has come; the gateway may be away for a while."""

        async def get() -> Batch:
            async with MillClient(self.target, patience_s=SETTLE_S) as client:
                return await client.get(name)

        return run_apart(get())

    def sources(self, name: str) -> list[str]:
        """The URLs of a batch that have succeeded."""

        async def get() -> list[str]:
            async with MillClient(self.target, patience_s=SETTLE_S) as client:
                return [item.source async for page in client.item_pages(name, states=["succeeded"]) for item in page]

        return run_apart(get())

    def until_final(self, name: str, number: int) -> Batch:
        """Wait until so many items of a batch are final, and return the batch."""

        def come_so_far() -> Batch | None:
            batch = self.batch(name)
            progress = batch.progress
            return batch if progress.succeeded + progress.failed >= number else None

        found = eventually_blocking(come_so_far, timeout_s=SETTLE_S, pause_s=0.1)
        assert found is not None
        return found

    def rows(self, query: str) -> list[str]:
        """Look into the database."""
        words = ("exec", "-T", "postgres", "psql", "--username=imagemill", "--tuples-only", "--no-align", "--command")
        return self.compose(*words, query).split()

    def renders(self, batch: Batch) -> int:
        """How many finished pictures of a batch lie in the blob store."""
        keys = f"open_blobs('file:///var/lib/imagemill').keys('{batch.name}/renders/')"
        return int(self.inside("storage", f"from imagemill.wiring.blobs import open_blobs; print(len(list({keys})))"))

    def requests(self) -> Counter[str]:
        """What the host of pictures has been asked for since its start, by URL."""
        return Counter({f"{HOST}{path}": times for path, times in json.loads(self._of_host("/requests")).items()})

    def pace(self, per_second: float) -> None:
        """Let the host give all callers together no more than so many pictures a second."""
        self._of_host(f"/pace/{per_second}")

    def _of_host(self, path: str) -> str:
        url = f"http://127.0.0.1:{PORT}{path}"
        return self.inside("pictures", f"import urllib.request as r; print(r.urlopen('{url}').read().decode())")

    def destroy(self) -> None:
        """Leave nothing of it, whatever the test did to it."""
        for program in self.programs:
            program.destroy()
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "2", timeout_s=180.0)
        with suppress(AssertionError):  # it was never built
            docker("image", "rm", "--force", self.image)


@contextmanager
def open_deployment(folder: Path) -> Iterator[Deployment]:
    """A deployment that is not up yet; nothing of it runs on afterwards. Raises `NoEngine`."""
    deployment = Deployment(folder)
    find_images(deployment)
    try:
        yield deployment
    finally:
        deployment.destroy()


def compose_command() -> list[str]:
    """Return the words that call Compose. Raises `NoEngine` unless it and an engine are there."""
    if shutil.which("docker") is None:
        raise NoEngine("there is no docker on this machine")
    if not _succeeds("docker", "info"):
        raise NoEngine("no Docker engine answers: `docker info` says why")
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and _succeeds(*command, "version"):
            return command
    raise NoEngine("there is neither `docker compose` nor `docker-compose`")


def find_images(deployment: Deployment) -> None:
    """See that all images that others make are there, or can be had. Raises `NoEngine`."""
    for image in [base_image(deployment), *{str(service["image"]) for service in deployment.plan().values()}]:
        there = image == deployment.image or _succeeds("docker", "image", "inspect", image)
        if not there and not _succeeds("docker", "pull", "--quiet", image):
            raise NoEngine(f"the engine has no image {image}, and can't pull it")


def base_image(deployment: Deployment) -> str:
    """The image that ours is built on."""
    build = deployment.plan()["migrate"]["build"]
    assert isinstance(build, dict)
    return str(build["args"]["BASE"])


def docker(*words: str, timeout_s: float = 60.0) -> str:
    """Run a command of Docker's, and return what it says."""
    return _said(["docker", *words], os.environ, "", timeout_s).strip()


def ended_well(program: Program, timeout_s: float) -> Ended:
    """Wait for the end of a command that has to succeed."""
    ended = program.ended(timeout_s)
    assert ended.code == 0, ended.said
    return ended


def _said(command: Sequence[str], environment: Mapping[str, str], stdin: str, timeout_s: float) -> str:
    done = subprocess.run(
        command, env=environment, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, timeout=300, check=False).returncode == 0


def _restarts(container: str) -> int:
    return int(docker("inspect", "--format", "{{.RestartCount}}", container))


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])

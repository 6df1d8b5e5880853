"""A real Prometheus with the rules of this project, on a free port, that reads a cluster's metrics every second."""

from __future__ import annotations

import json
import re
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from tests.guards.tree import ROOT
from tests.support.cluster import Cluster
from tests.support.processes import Program

CONFIGURATION = ROOT / "deploy" / "prometheus" / "prometheus.yml"
TOLD = {"METRICS_LISTEN": "127.0.0.1:0"}
"""What services must be told to be read."""
_ADDRESS = re.compile(r"Metrics are at http://(\S+)/metrics")


class Prometheus:
    """A server at work; its configuration is the project's, but for where the services are and how often it looks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        configuration = yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))
        configuration["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
        configuration["rule_files"] = [str(CONFIGURATION.parent / name) for name in configuration["rule_files"]]
        self.jobs = [job["job_name"] for job in configuration["scrape_configs"]]
        """What is read, by the names that rules and panels know it by."""
        for job in configuration["scrape_configs"]:
            del job["dns_sd_configs"]
            job["file_sd_configs"] = [{"files": [str(folder / f"{job['job_name']}.json")], "refresh_interval": "1s"}]
            self._write_targets(job["job_name"], [])
        (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
        self._port = _free_port()
        self.program = Program(
            [
                program("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self._port}",
            ],
            folder,
        )
        self.program.wait_until(self._is_ready)

    def read(self, cluster: Cluster) -> None:
        """Read the metrics of every service that runs, from now on."""
        for job in self.jobs:
            service = job.removeprefix("imagemill-")
            members = [member for member in cluster.programs if member.rpartition("-")[0] == service]
            self._write_targets(job, [address_of(cluster, member) for member in members])

    def ask(self, what: str, **parameters: object) -> Any:
        """The data of an answer of its API."""
        query = f"?{urlencode(parameters)}" if parameters else ""
        with urlopen(f"http://127.0.0.1:{self._port}/api/v1/{what}{query}", timeout=10) as answer:
            return json.load(answer)["data"]

    def values(self, query: str, start: float, end: float) -> list[float]:
        """Every value of every series of a query, from `start` to `end`."""
        found = self.ask("query_range", query=query, start=start, end=end, step=1)["result"]
        return [float(value) for series in found for _, value in series["values"]]

    def healthy_targets(self) -> Sequence[Mapping[str, Any]]:
        """What it could read the last time."""
        return [target for target in self.ask("targets")["activeTargets"] if target["health"] == "up"]

    def _write_targets(self, job: str, addresses: Sequence[str]) -> None:
        new = self._folder / f"{job}.new"
        new.write_text(json.dumps([{"targets": list(addresses)}]), encoding="utf-8")
        new.replace(self._folder / f"{job}.json")

    def _is_ready(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self._port}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except (URLError, ConnectionError):
            return False


@contextmanager
def open_prometheus(folder: Path) -> Iterator[Prometheus]:
    """Run a server for the length of the block."""
    server = Prometheus(folder)
    try:
        yield server
    finally:
        server.program.destroy()


def address_of(cluster: Cluster, member: str) -> str:
    """Where the metrics of a running service are, once it has said so."""
    running = cluster.programs[member]
    running.wait_until(lambda: _ADDRESS.search(running.err))
    found = _ADDRESS.search(running.err)
    assert found is not None
    return found[1]


def program(name: str) -> str:
    """Where a program of Prometheus's is."""
    found = shutil.which(name)
    assert found is not None, (
        f"The tests need {name}, of Prometheus 2.42 or newer, and it is nowhere to be found. On Debian and Ubuntu run "
        "tools/servers.sh (make test does); elsewhere install Prometheus."
    )
    return found


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])

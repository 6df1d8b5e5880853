"""What figures depend on beside the programs: the machine and the versions of what takes part."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tests.support import postgres_node, rabbitmq_node

_HERE = Path(__file__).parent
_LIBRARIES = ("pillow", "cykooz-resizer", "aiohttp", "grpcio", "aio-pika", "asyncpg")
_PEERS = ("img2dataset", "scrapy", "celery")


@dataclass(frozen=True, slots=True)
class Facts:
    """Where and when something was measured."""

    at: str
    cores: int
    processor: str
    memory_gb: int
    system: str
    python: str
    versions: Mapping[str, str]


def facts() -> Facts:
    """Return those of this moment."""
    return Facts(
        at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        cores=os.cpu_count() or 1,
        processor=_processor(),
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        system=f"{platform.system()} {platform.release().partition('-')[0]}",
        python=platform.python_version(),
        versions=_ours() | dict(_installed()) | {name: _locked(name) for name in _PEERS} | _servers(),
    )


def _ours() -> dict[str, str]:
    """The mill's version, with the commit where this is a clone."""
    try:
        commit = _git("describe", "--always")
        # What the benchmarks write themselves is no change.
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(exclude,top)docs/explanation")
    except (OSError, subprocess.CalledProcessError):
        return {"imagemill": version("imagemill")}
    return {"imagemill": f"{version('imagemill')} ({commit}{', changed' if changed else ''})"}


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=_HERE, capture_output=True, text=True, check=True).stdout.strip()


def _installed() -> Iterator[tuple[str, str]]:
    for name in _LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):  # some are not made for every platform
            yield name, version(name)


@cache
def _servers() -> dict[str, str]:
    """Versions of the servers that take part, as far as they are there; each is asked once, for that takes a second."""
    programs = (
        ("RabbitMQ", rabbitmq_node.program_path, "rabbitmqctl", "version"),
        ("PostgreSQL", postgres_node.program_path, "postgres", "--version"),
        ("Redis", str, "redis-server", "--version"),
    )
    found = {}
    for name, path_of, program, word in programs:
        with contextlib.suppress(postgres_node.ServerMissing, rabbitmq_node.ServerMissing, OSError):
            said = subprocess.run([path_of(program), word], capture_output=True, text=True, check=False).stdout
            if number := re.search(r"\d+(\.\d+)+", said):
                found[name] = number[0]
    return found


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except FileNotFoundError:
        return platform.processor()
    found = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()


def _locked(peer: str) -> str:
    found = re.search(
        rf"^{peer}==(\S+)", (_HERE / f"requirements-{peer}.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert found is not None
    return found[1]

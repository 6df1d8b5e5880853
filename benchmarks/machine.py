"""What figures depend on beside the programs: the machine and the versions of what takes part."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_HERE = Path(__file__).parent
_LIBRARIES = ("imagemill", "pillow", "cykooz-resizer", "aiohttp", "grpcio", "aio-pika", "asyncpg")
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
        versions=dict(_installed()) | {name: _locked(name) for name in _PEERS},
    )


def _installed() -> Iterator[tuple[str, str]]:
    for name in _LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):  # some are not made for every platform
            yield name, version(name)


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

"""The options of `imagemill run`, checked before anything is touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Literal

from imagemill.cli.exits import CommandError

Durability = Literal["process", "power"]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the user asked for; `timeout` in seconds, `children` None for one per core."""

    sources: tuple[str, ...]
    out: Path
    recipe: str = "standard"
    allow_net: tuple[str, ...] = ()
    concurrency: int = 50
    per_host: int = 8
    timeout: float = 30.0
    retries: int = 3
    children: int | None = None
    keep_originals: bool = False
    durability: Durability = "process"
    retry_failed: bool = False
    json: bool = False
    quiet: bool = False
    verbose: bool = False

    @property
    def state_folder(self) -> Path:
        """Where the mill keeps what it needs to go on."""
        return self.out / ".imagemill"

    def check(self) -> None:
        """Refuse what can't be meant.

        Raises:
            CommandError: names the option, what is wrong with its value and what is allowed.
        """
        _refuse_unknown_options(self.sources)
        _between("--concurrency", self.concurrency, 1, 1000, "downloads at a time")
        _between("--per-host", self.per_host, 1, 1000, "connections to one host")
        _between("--timeout", self.timeout, 1, 3600, "seconds for one download")
        _between("--retries", self.retries, 0, 20, "further attempts")
        if self.children is not None:
            _between("--children", self.children, 1, 256, "rendering processes")
        for network in self.allow_net:
            _check_network(network)


def _between(option: str, value: float, lowest: int, highest: int, meaning: str) -> None:
    if not lowest <= value <= highest:
        raise CommandError(f"{option} {value:g}: {meaning}; give a number from {lowest:,} to {highest:,}.")


def _refuse_unknown_options(sources: Sequence[str]) -> None:
    # A lone hyphen is standard input, so the parser lets words with a hyphen through to here.
    for source in sources:
        if source.startswith("-") and source != "-":
            raise CommandError(f"Unknown option {source}; imagemill run --help lists them all.")


def _check_network(text: str) -> None:
    try:
        ip_network(text)
    except ValueError as error:
        raise CommandError(f"--allow-net {text}: {_network_hint(text)}") from error


def _network_hint(text: str) -> str:
    try:
        return f"the address has bits beyond the network's; {ip_interface(text).network} is likely meant."
    except ValueError:
        return "this is no network; write one like 10.0.0.0/8, 192.168.1.20 or fd00::/8."

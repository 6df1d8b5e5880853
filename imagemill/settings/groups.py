"""What a mill can be told, in parts that the services have in common with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imagemill.settings.declaring import setting
from imagemill.settings.kinds import Choice, FilePath, Flag, Maybe, Network, Networks, Number, Text, WholeNumber

_PER_BATCH = "it belongs to each batch, which has its own"


@dataclass(frozen=True, eq=False, repr=False)
class Logging:
    """The log of a process."""

    log_level: Literal["debug", "info", "warning", "error"] = setting(
        Choice(("debug", "info", "warning", "error")),
        "How much the log tells: debug has a line for every item, error only what went wrong.",
        default="info",
        options=("--log-level",),
        example="debug",
    )
    log_format: Literal["text", "json"] = setting(
        Choice(("text", "json")),
        "Lines for people, or one JSON object per line for programs.",
        default="text",
        options=("--log-format",),
        example="json",
        fixed_because="a log in two formats could be read by nobody",
    )
    log_file: Path | None = setting(
        Maybe(FilePath("a file"), "auto", "mill.log beside the mill's state, or standard error for a service"),
        "Where the log goes. At 5 MB it is put aside as FILE.1, and one such file is kept.",
        default=None,
        options=("--log-file",),
        example="mill.log",
        fixed_because="the log would be torn in two",
    )


@dataclass(frozen=True, eq=False, repr=False)
class Downloading:
    """How pictures are fetched."""

    downloads: int = setting(
        WholeNumber(1, 1000, "downloads at a time"),
        "Downloads at a time, over all hosts.",
        default=50,
        options=("--downloads", "--concurrency"),
        example="16",
    )
    per_host: int = setting(
        WholeNumber(1, 1000, "connections to one host"),
        "Connections to one host at a time; a list from a single host is bound by it.",
        default=8,
        options=("--per-host",),
        example="16",
    )
    timeout_s: float = setting(
        Number(1, 3600, "seconds for one download"),
        "Seconds that one download may take.",
        default=30.0,
        options=("--timeout",),
        example="60",
    )
    allow_nets: tuple[Network, ...] = setting(
        Networks(),
        "Private networks that URLs may lead to.",
        default=(),
        options=("--allow-net",),
        example="10.0.0.0/8",
        fixed_because="which networks are open must not change by a call",
    )


@dataclass(frozen=True, eq=False, repr=False)
class Retrying:
    """How often trouble is met with another attempt."""

    retries: int = setting(
        WholeNumber(0, 20, "further attempts"),
        "Further attempts after trouble that may pass. Where it may pass at once (503, a broken connection), each "
        "attempt makes up to two quick tries more: up to 3 requests an attempt.",
        default=3,
        options=("--retries",),
        example="5",
    )


@dataclass(frozen=True, eq=False, repr=False)
class Rendering:
    """How pictures are made."""

    children: int | None = setting(
        Maybe(WholeNumber(1, 256, "rendering processes"), "auto", "one per core"),
        "Rendering processes.",
        default=None,
        options=("--children",),
        example="4",
        fixed_because="the processes are started with the mill",
    )


@dataclass(frozen=True, eq=False, repr=False)
class Keeping:
    """What finished work survives."""

    durability: Literal["process", "power"] = setting(
        Choice(("process", "power")),
        "What finished work survives: the end of any process, or a power cut too (slower).",
        default="process",
        options=("--durability",),
        example="power",
        fixed_because="what is stored already was promised otherwise",
    )


@dataclass(frozen=True)
class BatchSettings:
    """What a new batch is, unless it says otherwise."""

    recipe: str = setting(
        Text("a preset (standard, half, dataset-256) or a recipe file"),
        "What is made of each picture.",
        default="standard",
        options=("--recipe",),
        example="recipe.yaml",
        fixed_because=_PER_BATCH,
    )
    keep_originals: bool = setting(
        Flag(),
        "Keep the downloaded files beside the mill's stored pictures.",
        default=False,
        options=("--keep-originals",),
        fixed_because=_PER_BATCH,
    )
    keep_undecodable: bool = setting(
        Flag(),
        "Put files that can't be decoded aside as they came, in the folder 'undecodable' beside the pictures.",
        default=False,
        options=("--keep-undecodable",),
        fixed_because=_PER_BATCH,
    )


@dataclass(frozen=True, eq=False, repr=False)
class Describing:
    """What the API tells of itself."""

    reflection: bool = setting(
        Flag(),
        "Let generic gRPC clients ask for the descriptions of the API (server reflection).",
        default=True,
        options=("--reflection",),
        fixed_because="it is offered from the start or not at all",
    )


@dataclass(frozen=True)
class MillSettings(Logging, Describing, Keeping, Rendering, Retrying, Downloading):
    """A whole mill in one process tree: `imagemill up`."""


@dataclass(frozen=True)
class RunSettings(MillSettings, BatchSettings):
    """A mill and the one batch that it is for: `imagemill run`."""

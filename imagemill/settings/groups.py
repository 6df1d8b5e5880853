"""What a mill can be told, in parts that the services have in common with it.

Parts that are never made by themselves go without `__init__`, which every start of the command would wait for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from imagemill.settings.addresses import Target
from imagemill.settings.declaring import setting
from imagemill.settings.kinds import (
    Choice,
    FilePath,
    Flag,
    HeaderText,
    Maybe,
    Network,
    Networks,
    Number,
    Text,
    WholeNumber,
)
from imagemill.settings.sizes import ByteSize

if TYPE_CHECKING:
    from imagemill.domain.retry import RetryPolicy

DEFAULT_TARGET = "127.0.0.1:50051"
"""Where a mill or a gateway listens and its clients look for it, unless told otherwise."""

_PER_BATCH = "it belongs to each batch, which has its own"
_STARTED = "the processes are started with the mill"
ADDRESS_FIXED = "it is where others find this process"


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Logging:
    """How a process is looked into: its log, its metrics, its traces."""

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
    metrics_listen: str | None = setting(
        Maybe(Target(0, sockets=False), "none", "no metrics"),
        "Where Prometheus finds the metrics of this process, at /metrics; whoever reaches it can read them.",
        default=None,
        example="127.0.0.1:9464",
        fixed_because=ADDRESS_FIXED,
    )
    trace_sample: float = setting(
        Number(0, 1, "the share of items that are traced"),
        "The share of items that are traced, the same for all services; OTEL_* variables say where traces go.",
        default=0.0,
        example="0.01",
        fixed_because="what is begun would be traced in part",
    )


@dataclass(frozen=True, init=False, eq=False, repr=False)
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
    user_agent: str | None = setting(
        Maybe(HeaderText(200), "auto", "Mozilla/5.0 (compatible; Imagemill/VERSION)"),
        "What the mill calls itself in every request.",
        default=None,
        options=("--user-agent",),
        example="'Gallery/2.0 (+https://example.com/bot)'",
    )
    max_file_size: int = setting(
        ByteSize(10**6, 10**10, "the largest file that is taken"),
        "The largest file that is taken, counted after unpacking.",
        default=100_000_000,
        example="20MB",
    )
    min_file_size: int = setting(
        ByteSize(0, 10**6, "the smallest file that is taken"),
        "The smallest file that is taken: less is a tracking pixel or a note, not a picture.",
        default=100,
        example="2kB",
    )
    max_redirects: int = setting(
        WholeNumber(0, 20, "redirects"),
        "Redirects that are followed in one request; each is judged like a URL of the list.",
        default=5,
        example="2",
    )
    connect_timeout_s: float = setting(
        Number(0.1, 600, "seconds to connect"),
        "Seconds until a connection stands, look-up of the name and TLS included.",
        default=10.0,
        example="20",
    )
    dns_timeout_s: float = setting(
        Number(0.1, 600, "seconds for a look-up"),
        "Seconds for the look-up of a name; below connect_timeout_s, so that each failure gets its true name.",
        default=5.0,
        example="10",
        fixed_because="the resolver is made with the mill",
    )
    dns_cache_s: float = setting(
        Number(0, 86_400, "seconds for which addresses are remembered"),
        "Seconds for which a name's addresses are remembered.",
        default=60.0,
        example="600",
        fixed_because="the resolver is made with the mill",
    )
    read_timeout_s: float = setting(
        Number(0.1, 3600, "seconds of silence"),
        "Seconds without a single byte, before an answer or within it.",
        default=15.0,
        example="30",
    )
    min_bytes_per_s: float = setting(
        Number(0, 1_000_000_000, "bytes a second"),
        "The slowest answer that is worth a connection, in bytes a second over throughput_window_s.",
        default=1000.0,
        example="200",
    )
    throughput_window_s: float = setting(
        Number(1, 3600, "seconds of measuring"),
        "Seconds over which min_bytes_per_s is measured; short ones end downloads for a hiccup.",
        default=10.0,
        example="30",
    )
    quick_retries: int = setting(
        WholeNumber(0, 10, "quick tries"),
        "Tries within one attempt beyond its first, for trouble that often passes at once (503, a broken connection).",
        default=2,
        example="0",
    )
    quick_delay_s: float = setting(
        Number(0, 60, "seconds before a quick try"),
        "Seconds before the first quick try; twice as long before each further one.",
        default=1.0,
        example="0.5",
    )
    quick_longest_delay_s: float = setting(
        Number(0, 3600, "seconds of Retry-After"),
        "The longest Retry-After that is waited for within an attempt, in seconds; longer ones wait between attempts.",
        default=5.0,
        example="20",
    )


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Retrying:
    """How often trouble is met with another attempt."""

    retries: int = setting(
        WholeNumber(0, 20, "further attempts"),
        "Further attempts after trouble that may pass. Within each, quick_retries more requests may be made.",
        default=3,
        options=("--retries",),
        example="5",
    )
    retry_delay_s: float = setting(
        Number(0, 3600, "seconds before another attempt"),
        "Seconds before the first further attempt, give or take a quarter.",
        default=2.0,
        example="10",
    )
    retry_factor: float = setting(
        Number(1, 10, "times the delay before"),
        "How many times longer each further attempt waits than the one before.",
        default=1.5,
        example="2",
    )
    longest_delay_s: float = setting(
        Number(1, 604_800, "seconds between attempts"),
        "The longest pause between two attempts, in seconds; an item whose server asks for more (Retry-After) fails.",
        default=3600.0,
        example="600",
    )

    @property
    def retry_policy(self) -> RetryPolicy:
        """The same for whoever decides."""
        from imagemill.domain.retry import RetryPolicy

        return RetryPolicy(self.retries, self.retry_delay_s, self.retry_factor, longest_s=self.longest_delay_s)


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Rendering:
    """How pictures are made."""

    children: int | None = setting(
        Maybe(WholeNumber(1, 256, "rendering processes"), "auto", "one per core"),
        "Rendering processes.",
        default=None,
        options=("--children",),
        example="4",
        fixed_because=_STARTED,
    )
    max_pixels: int = setting(
        WholeNumber(1000, 2_000_000_000, "pixels of a picture"),
        "The largest picture that is decoded, in pixels over all its frames; for larger ones raise child_memory, too.",
        default=100_000_000,
        example="25000000",
    )
    render_timeout_s: float = setting(
        Number(1, 3600, "seconds for rendering"),
        "Seconds that making all variants of one picture may take.",
        default=30.0,
        example="120",
        fixed_because=_STARTED,
    )
    child_memory: int = setting(
        ByteSize(256 * 2**20, 2**40, "the memory of a rendering process"),
        "Address space of each rendering process; a picture that needs more fails.",
        default=1536 * 2**20,
        example="3GiB",
        fixed_because=_STARTED,
    )
    jobs_per_child: int = setting(
        WholeNumber(1, 1_000_000_000, "pictures for one process"),
        "Pictures after which a rendering process is replaced, so that what a decoder leaks is given back.",
        default=5000,
        example="500",
        fixed_because=_STARTED,
    )


@dataclass(frozen=True, init=False, eq=False, repr=False)
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


@dataclass(frozen=True, init=False, eq=False, repr=False)
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


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Describing:
    """What the API tells of itself."""

    reflection: bool = setting(
        Flag(),
        "Let generic gRPC clients ask for the descriptions of the API (server reflection).",
        default=True,
        options=("--reflection",),
        fixed_because="it is offered from the start or not at all",
    )


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Listening:
    """Where a mill is reached, and where it keeps everything."""

    listen: str = setting(
        Target(0),
        "Where the mill is reached; port 0 takes a free one.",
        default=DEFAULT_TARGET,
        options=("--listen",),
        example="127.0.0.1:50052",
        fixed_because=ADDRESS_FIXED,
    )
    data: Path | None = setting(
        Maybe(FilePath("a folder"), "auto", "$XDG_DATA_HOME/imagemill, mostly ~/.local/share/imagemill"),
        "The folder for everything the mill keeps; made when missing.",
        default=None,
        options=("--data",),
        example="/srv/mill",
        fixed_because="what is kept lies there",
    )


@dataclass(frozen=True, eq=False, repr=False)
class Calling:
    """Where the commands for a mill's batches look for it."""

    to: str = setting(
        Target(),
        "Where submit, watch and the other commands for a mill's batches look for it.",
        default=DEFAULT_TARGET,
        options=("--to",),
        example="127.0.0.1:50052",
        fixed_because="it is for the commands, not for the mill",
    )


@dataclass(frozen=True, repr=False)
class MillSettings(Logging, Describing, Keeping, Rendering, Retrying, Downloading):
    """A whole mill in one process tree."""


@dataclass(frozen=True, repr=False)
class UpSettings(MillSettings, Listening):
    """A mill as a server: `imagemill up`."""


@dataclass(frozen=True, repr=False)
class RunSettings(MillSettings, BatchSettings):
    """A mill and the one batch that it is for: `imagemill run`."""


@dataclass(frozen=True, repr=False)
class SubmitSettings(Calling, BatchSettings):
    """A batch, and the mill that it is for: `imagemill submit`."""

"""What each service can be told when it runs as a process of its own."""

from __future__ import annotations

from dataclasses import dataclass

from imagemill.settings.addresses import Target, Url
from imagemill.settings.declaring import setting
from imagemill.settings.groups import (
    ADDRESS_FIXED,
    DEFAULT_TARGET,
    Calling,
    Describing,
    Downloading,
    Keeping,
    Logging,
    Rendering,
    Retrying,
)
from imagemill.settings.kinds import Number, WholeNumber

_PARTS = "another part would know nothing of the work in hand"


def _listen(help: str, default: str) -> str:
    return setting(
        Target(0),
        help,
        default=default,
        options=("--listen",),
        example="127.0.0.1:50052",
        fixed_because=ADDRESS_FIXED,
    )


@dataclass(frozen=True)
class OnBroker(Logging):
    """Whoever needs the broker."""

    broker_url: str = setting(
        Url(("amqp", "amqps"), "amqp://mill:password@localhost:5672/"),
        "The RabbitMQ broker.",
        secret=True,
        fixed_because=_PARTS,
    )


@dataclass(frozen=True)
class _AskingStorage(Logging):
    storage_target: str = setting(
        Target(), "Where the storage service listens.", example="localhost:50052", fixed_because=_PARTS
    )


@dataclass(frozen=True)
class _OnBlobs(Logging):
    blob_url: str = setting(
        Url(("file", "s3", "gs", "az"), "file:///var/lib/imagemill or s3://bucket/prefix"),
        "The store of pictures, which all workers share: a folder or an object store.",
        secret=True,
        fixed_because=_PARTS,
    )


@dataclass(frozen=True)
class OnDatabase(Logging):
    """Whoever needs the database."""

    database_url: str = setting(
        Url(("postgresql", "sqlite"), "postgresql://mill:password@localhost/mill"),
        "The database of batches and items.",
        secret=True,
        fixed_because=_PARTS,
    )


@dataclass(frozen=True)
class _Draining(Logging):
    grace_s: float = setting(
        Number(0, 600, "seconds for work in hand"),
        "Seconds that work in hand may go on for when the process is told to stop; the rest is handed back.",
        default=5.0,
        example="20",
        fixed_because="whoever stops the process was told how long that may take",
    )


@dataclass(frozen=True)
class Gateway(Describing, _Draining, _AskingStorage, OnBroker):
    """The gateway: the front desk."""

    listen: str = _listen("Where the service listens.", DEFAULT_TARGET)
    least_window: int = setting(
        WholeNumber(1, 1_000_000, "items in flight"),
        "The smallest number of items on the queues: at least twice what all workers together hold.",
        default=256,
        example="1024",
    )
    largest_window: int = setting(
        WholeNumber(1, 1_000_000, "items in flight"),
        "The largest number of items on the queues, unless the smallest is larger; it bounds what a crash repeats.",
        default=4096,
        example="16384",
    )
    window_s: float = setting(
        Number(0.1, 600, "seconds of work"),
        "Seconds of measured throughput that are kept on the queues, between those two numbers.",
        default=2.0,
        example="5",
    )


@dataclass(frozen=True)
class Downloader(Keeping, Retrying, Downloading, _Draining, _OnBlobs, _AskingStorage, OnBroker):
    """The downloader."""

    listen: str = _listen("Where the service answers about its health.", "127.0.0.1:50053")


@dataclass(frozen=True)
class Processor(Keeping, Rendering, Retrying, _Draining, _OnBlobs, _AskingStorage, OnBroker):
    """The processor."""

    listen: str = _listen("Where the service answers about its health.", "127.0.0.1:50054")


@dataclass(frozen=True)
class Storage(OnDatabase, _OnBlobs, OnBroker):
    """The storage service: the only owner of the database."""

    listen: str = _listen("Where the service listens.", "127.0.0.1:50052")
    lease_s: float = setting(
        Number(2, 3600, "seconds for which a claim holds"),
        "Seconds without a sign of life after which claimed work is looked for; workers give one every 15 s.",
        default=60.0,
        example="120",
        fixed_because="it is built into the claims that are out",
    )


@dataclass(frozen=True)
class Parts(Calling, _AskingStorage, OnDatabase, _OnBlobs, OnBroker):
    """Everything that a mill of several processes stands on."""

"""What each service can be told when it runs as a process of its own."""

from __future__ import annotations

from dataclasses import dataclass

from imagemill.settings.addresses import Target, Url
from imagemill.settings.declaring import setting
from imagemill.settings.groups import Describing, Downloading, Keeping, Logging, Rendering, Retrying
from imagemill.settings.kinds import Number, WholeNumber

_ADDRESS = "it is where others find this process"
_PARTS = "another part would know nothing of the work in hand"


@dataclass(frozen=True)
class _OnBroker(Logging):
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
        Url(("file", "s3", "gs", "az", "memory"), "file:///var/lib/imagemill or s3://bucket/prefix"),
        "The store of pictures, which all workers share.",
        secret=True,
        fixed_because=_PARTS,
    )


@dataclass(frozen=True)
class Gateway(Describing, _AskingStorage, _OnBroker):
    """The gateway: the front desk."""

    listen: str = setting(Target(0), "Where the service listens.", default="127.0.0.1:50051", fixed_because=_ADDRESS)
    least_window: int = setting(
        WholeNumber(1, 1_000_000, "items in flight"),
        "The smallest number of items on the queues: at least twice what all workers together hold.",
        default=256,
        example="1024",
    )
    largest_window: int = setting(
        WholeNumber(1, 1_000_000, "items in flight"),
        "The largest number of items on the queues; it bounds what a crash repeats.",
        default=4096,
        example="16384",
    )


@dataclass(frozen=True)
class Downloader(Retrying, Downloading, _OnBlobs, _AskingStorage, _OnBroker):
    """The downloader."""

    listen: str = setting(
        Target(0), "Where the service answers about its health.", default="127.0.0.1:50053", fixed_because=_ADDRESS
    )


@dataclass(frozen=True)
class Processor(Keeping, Rendering, Retrying, _OnBlobs, _AskingStorage, _OnBroker):
    """The processor."""

    listen: str = setting(
        Target(0), "Where the service answers about its health.", default="127.0.0.1:50054", fixed_because=_ADDRESS
    )


@dataclass(frozen=True)
class Storage(_OnBlobs, _OnBroker):
    """The storage service: the only owner of the database."""

    listen: str = setting(Target(0), "Where the service listens.", default="127.0.0.1:50052", fixed_because=_ADDRESS)
    database_url: str = setting(
        Url(("postgresql", "sqlite"), "postgresql://mill:password@localhost/mill"),
        "The database of batches and items.",
        secret=True,
        fixed_because=_PARTS,
    )
    lease_s: float = setting(
        Number(5, 3600, "seconds for which a claim holds"),
        "Seconds for which claimed work holds without a sign of life: twice the longest a download may take.",
        default=60.0,
        example="120",
        fixed_because="it is built into the claims that are out",
    )

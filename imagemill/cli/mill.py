"""The one place where the command opens a mill."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from imagemill.cli.exits import CommandError
from imagemill.cli.options import RunOptions, UpOptions
from imagemill.runtime.logs import set_level
from imagemill.settings.groups import MillSettings
from imagemill.settings.live import LiveSettings
from imagemill.settings.loading import Resolved

if TYPE_CHECKING:
    from processor_svc.pool import RenderPool

T = TypeVar("T")


class Mill(Protocol):
    """A running mill."""

    @property
    def target(self) -> str:
        """Where its API is served, in gRPC's notation."""

    @property
    def failed(self) -> Awaitable[None]:
        """Raises when one of its services dies."""

    def blob_path(self, key: str) -> Path:
        """Return the file behind a picture's key."""


class ServingMill(Mill, Protocol):
    """A running mill that is reached from outside."""

    @property
    def store_target(self) -> str:
        """Where the calls that only read are answered inside, in gRPC's notation."""


MillOpener = Callable[[RunOptions], AbstractAsyncContextManager[Mill]]


@asynccontextmanager
async def open_embedded(options: RunOptions) -> AsyncIterator[Mill]:
    """Run the whole mill in this process tree, its state in the output folder.

    Raises:
        CommandError: another command works in the folder, its state can't be read, or the machine is too small.
    """
    async with _opened(options.settings, options.state_folder, "", folder=options.out, option="--out") as mill:
        yield mill


@asynccontextmanager
async def open_server(options: UpOptions) -> AsyncIterator[ServingMill]:
    """Run the whole mill in this process tree, its state in the data folder, its API where it is to listen.

    Raises:
        CommandError: what `open_embedded` raises, and when the address can't be listened on.
    """
    async with _opened(
        options.settings, options.state_folder, options.settings.values.listen, folder=options.data, option="--data"
    ) as mill:
        yield mill


@asynccontextmanager
async def _opened(
    told: Resolved[MillSettings], home: Path, listen: str, *, folder: Path, option: str
) -> AsyncIterator[ServingMill]:
    from processor_svc.pool import PoolSettings, RenderPool

    # The processes come up while this one reads the rest of the mill, which takes as long.
    pool = RenderPool(PoolSettings.of(told.values)).begin()
    async with aclosing(pool), _with_pool(pool, told, home, listen, folder=folder, option=option) as mill:
        yield mill


@asynccontextmanager
async def _with_pool(
    pool: RenderPool, told: Resolved[MillSettings], home: Path, listen: str, *, folder: Path, option: str
) -> AsyncIterator[ServingMill]:
    live = LiveSettings[MillSettings](told)
    # Heavy: whoever only asks for help must not wait for it.
    from imagemill.embedded import (
        AddressUnusable,
        EmbeddedSettings,
        MachineTooSmall,
        MillInUse,
        StateUnreadable,
        open_mill,
    )
    from imagemill.runtime.exposition import MetricsUnexposed
    from imagemill.runtime.memory import collect_garbage
    from imagemill.runtime.traces import TracesUnsent

    collect_garbage()
    settings = EmbeddedSettings(home, told.values, listen)
    try:
        with live.values.followed_by(lambda values: set_level(values.log_level)):
            async with open_mill(settings, pool, live) as mill:
                yield mill
    except MachineTooSmall as error:
        raise CommandError(str(error)) from error
    except AddressUnusable as error:
        raise CommandError(f"{error} Choose another address with --listen.") from error
    except (MetricsUnexposed, TracesUnsent) as error:
        raise CommandError(str(error)) from error
    except MillInUse as error:
        raise CommandError(
            f"Another imagemill is at work in {folder}. Wait for it, or give another folder with {option}."
        ) from error
    except StateUnreadable as error:
        raise CommandError(
            f"{error} Give another folder with {option}, or mend this one. Delete it only if the file is damaged: "
            "with it goes all that is known of its batches."
        ) from error


async def alongside(failed: Awaitable[None], work: Coroutine[Any, Any, T]) -> T:
    """Await `work` for as long as the mill lives; raises what the mill died of."""
    task, death = asyncio.ensure_future(work), asyncio.ensure_future(failed)
    try:
        await asyncio.wait({task, death}, return_when=asyncio.FIRST_COMPLETED)
        if death.done():
            death.result()
        return await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

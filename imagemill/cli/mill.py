"""The one place where the command opens a mill."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

from imagemill.cli.exits import CommandError
from imagemill.cli.options import RunOptions


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


MillOpener = Callable[[RunOptions], AbstractAsyncContextManager[Mill]]


@asynccontextmanager
async def open_embedded(options: RunOptions) -> AsyncIterator[Mill]:
    """Run the whole mill in this process tree, its state in the output folder.

    Raises:
        CommandError: another command works in the folder, its state can't be read, or the machine is too small.
    """
    # Heavy: whoever only asks for help must not wait for it.
    from imagemill.embedded import EmbeddedSettings, MachineTooSmall, MillInUse, StateUnreadable, open_mill

    # All is imported and stays: from here on there is garbage, and only new things need be searched for it.
    gc.freeze()
    gc.enable()
    settings = EmbeddedSettings(
        home=options.state_folder,
        allow_nets=options.allow_net,
        downloads=options.concurrency,
        per_host=options.per_host,
        timeout_s=options.timeout,
        retries=options.retries,
        children=options.children,
        durability=options.durability,
    )
    try:
        async with open_mill(settings) as mill:
            yield mill
    except MachineTooSmall as error:
        raise CommandError(str(error)) from error
    except MillInUse as error:
        raise CommandError(
            f"Another imagemill is at work in {options.out}. Wait for it, or give another folder with --out."
        ) from error
    except StateUnreadable as error:
        raise CommandError(f"{error} Delete that folder to start over, or give another one with --out.") from error

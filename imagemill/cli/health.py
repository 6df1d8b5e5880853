"""`imagemill health`: whether a service has all that it needs, for whoever looks after containers.

It is run every few seconds beside each service, so it imports no more than it takes.
"""

from __future__ import annotations

import asyncio
import sys

from imagemill.cli.exits import CommandError, ExitCode
from imagemill.cli.options import mill_at
from imagemill.ports.unavailable import PartUnavailable
from imagemill.runtime.health import service_answers
from imagemill.runtime.serving import dial


def health_command(to: str | None, service: str) -> ExitCode:
    """Ask the server at `to` about a service of its own, or about itself if `service` is empty."""
    target = mill_at(to)
    try:
        asyncio.run(_ask(target, service))
    except PartUnavailable as error:
        text = str(error)
        raise CommandError(f"{text[:1].upper()}{text[1:]}.", ExitCode.SOME_FAILED) from error
    sys.stdout.write("SERVING\n")
    return ExitCode.OK


async def _ask(target: str, service: str) -> None:
    async with dial(target) as channel:
        await service_answers(channel, target, service)()

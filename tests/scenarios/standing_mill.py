"""A mill that stands until it is told to stop, for tests of what its clients see when it falls.

`python -m tests.scenarios.standing_mill HOME [LISTEN]` says on standard output where its API is served. It may fetch
from this machine.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from ipaddress import ip_network
from pathlib import Path

from imagemill.embedded import EmbeddedSettings, open_mill
from imagemill.settings.groups import MillSettings


async def stand(home: Path, listen: str) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    nets = (ip_network("127.0.0.0/8"),)
    values = MillSettings(allow_nets=nets, downloads=8, per_host=8, retries=1, children=1)
    settings = EmbeddedSettings(home, values, listen)
    async with open_mill(settings) as mill:
        print(mill.target, flush=True)  # noqa: T201 - whoever started it reads it
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(stand(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""))

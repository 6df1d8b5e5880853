"""Fetches one picture from each of many hosts, all begun at once, with few files to be had.

`python -m tests.unit.http.many_hosts PORT HOSTS FILES`: every host is this machine at PORT under another name.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from ipaddress import ip_network

from imagemill.http import Deadline, GuardedClient, HttpSettings
from tests.support.fence import fenced


async def fetch_all(port: int, hosts: int) -> int:
    async with GuardedClient(HttpSettings(allow_nets=(ip_network("127.0.0.0/8"),))) as client:

        async def fetch(number: int) -> int:
            url = f"http://host-{number}.test:{port}/a.jpg"
            async with Deadline(60.0) as deadline, client.get(url, deadline) as answer:
                return sum([len(piece) async for piece in answer.body])

        sizes = await asyncio.gather(*(fetch(number) for number in range(hosts)))
    return sum(size > 0 for size in sizes)


def main(port: int, hosts: int, files: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    with fenced() as fence:
        fence.names |= {f"host-{number}.test": [["127.0.0.1"]] for number in range(hosts)}
        sys.stdout.write(f"{asyncio.run(fetch_all(port, hosts))} pictures\n")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))

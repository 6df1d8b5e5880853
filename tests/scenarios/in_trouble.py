"""The command with less patience than it has for real servers, behind the fence.

`python -m tests.scenarios.in_trouble run ...`: a second where it would wait ten, and a name server that has no answer
for any name but mute.test's, about which it stays silent.
"""

from __future__ import annotations

import socket
from functools import partial
from typing import Any
from unittest import mock

from imagemill.cli import main
from imagemill.http import HttpSettings
from tests.support.fence import fenced

IMPATIENT = partial(
    HttpSettings, connect_timeout_s=1.0, read_timeout_s=1.5, throughput_window_s=2.0, min_bytes_per_s=1000.0
)


def _muted(look_up: Any) -> Any:
    def muted(host: object, *arguments: Any, **options: Any) -> Any:
        if host == "mute.test":
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return look_up(host, *arguments, **options)

    return muted


if __name__ == "__main__":
    with (
        fenced(),
        mock.patch.object(socket, "getaddrinfo", _muted(socket.getaddrinfo)),
        mock.patch("downloader_svc.settings.HttpSettings", IMPATIENT),
    ):
        main()

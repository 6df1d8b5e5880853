"""The command behind the fence, and with a name server that has no answer for any name but mute.test's, about which it
stays silent.

`python -m tests.scenarios.in_trouble run ...`
"""

from __future__ import annotations

import socket
from typing import Any
from unittest import mock

from imagemill.cli import main
from tests.support.fence import fenced


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
    ):
        main()

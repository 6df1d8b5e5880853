"""A rendering process: takes jobs from a socket, one after the other, until its parent is gone.

Started as `python -m processor_svc.child <socket> <parent's pid> <bytes of memory>`; imports as little as
rendering needs, because the start of every process waits for it.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import sys
import traceback
from contextlib import suppress
from typing import Any

from imagemill.domain.failures import PipelineError, TransientError
from imagemill.domain.retry import UNFORESEEN
from processor_svc.frames import FrameReader, frame
from processor_svc.jobs import RenderJob, failure_mapping
from processor_svc.render import render

_PR_SET_PDEATHSIG = 1
_PIECE = 65536


def main(arguments: list[str]) -> None:
    """Serve the socket until its other end is closed."""
    descriptor, parent, memory_bytes = (int(argument) for argument in arguments)
    _die_with(parent)
    _limit(memory_bytes)
    _leave_signals_to_the_parent()
    with socket.socket(fileno=descriptor) as stream, suppress(BrokenPipeError, ConnectionResetError):
        _serve(stream)


def _serve(stream: socket.socket) -> None:
    reader = FrameReader()
    _send(stream, {"ready": os.getpid()})
    while piece := stream.recv(_PIECE):
        for body in reader.feed(piece):
            asked = json.loads(body)
            _send(stream, {"id": asked["id"], **_answer(asked)})


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"result": render(RenderJob.from_mapping(asked)).to_mapping()}
    except PipelineError as error:
        # The cause is for the log: a foreign error's text must not reach the manifest.
        return {"failure": failure_mapping(error), "detail": repr(error.__cause__) if error.__cause__ else ""}
    except Exception:
        unforeseen = TransientError(UNFORESEEN.code, UNFORESEEN.message)
        return {"failure": failure_mapping(unforeseen), "detail": traceback.format_exc()}


def _send(stream: socket.socket, answer: dict[str, Any]) -> None:
    stream.sendall(frame(json.dumps(answer).encode()))


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, however that happens (Linux, prctl(2)).

    Elsewhere the end of the socket does it, as soon as the job at hand is done.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the kernel was told
        sys.exit(0)


def _limit(memory_bytes: int) -> None:
    """Bound the address space, so that a greedy picture meets a MemoryError and not the machine's end."""
    with suppress(ValueError, OSError):  # some systems refuse to limit it
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _leave_signals_to_the_parent() -> None:
    """Ignore what a terminal or an init system sends to the whole group: the parent decides when to end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


if __name__ == "__main__":
    main(sys.argv[1:])

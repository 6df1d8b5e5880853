"""Starting one rendering process, and the two streams that tie it to its parent."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping

from processor_svc.frames import FrameReader, frame

_PIECE = 65536
_TAIL = 2000
"""Characters kept of what a child writes to its standard error."""

MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(32 * 2**20), "MALLOC_TRIM_THRESHOLD_": str(128 * 2**20)}
"""Pages of a finished picture stay for the next one; touching fresh ones costs 15 % of a whole decode."""


class ChildProcess:
    """One rendering process: frames go out by `send` and come in by `on_frame`.

    `on_gone` is called once, when the process has closed its end: it has ended, or is about to. All calls
    come from the event loop. Must be made in the main thread: the kernel ties the child's life to the
    *thread* that starts it (prctl(2), PR_SET_PDEATHSIG).
    """

    def __init__(self, memory_bytes: int, on_frame: Callable[[bytes], None], on_gone: Callable[[], None]) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("rendering processes must be started from the main thread")
        self._loop = asyncio.get_running_loop()
        self._on_frame, self._on_gone = on_frame, on_gone
        self._reader = FrameReader()
        self._unsent = bytearray()
        self._open = True
        self.complaints = ""
        """The end of what the process wrote to its standard error."""
        self._stream, theirs = socket.socketpair()
        with theirs:
            self._process = _spawn(theirs.fileno(), memory_bytes)
        self._stream.setblocking(False)
        self._loop.add_reader(self._stream, self.read)
        assert self._process.stderr is not None
        os.set_blocking(self._process.stderr.fileno(), False)
        self._loop.add_reader(self._process.stderr.fileno(), self._hear)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def send(self, body: bytes) -> None:
        """Send one frame; what the socket does not take at once follows when it can."""
        if self._unsent:
            self._unsent += frame(body)
            return
        self._unsent += frame(body)
        self._write()
        if self._unsent:
            self._loop.add_writer(self._stream, self._write_on)

    def read(self) -> None:
        """Take in what has arrived; also called when a deadline is about to be judged."""
        while self._open:
            try:
                piece = self._stream.recv(_PIECE)
            except BlockingIOError:
                return
            except ConnectionResetError:
                piece = b""
            if not piece:
                self._gone()
                return
            for body in self._reader.feed(piece):
                self._on_frame(body)
            if len(piece) < _PIECE:
                return

    def retire(self) -> None:
        """Ask the process to end when it has nothing left to do."""
        if self._open:
            self._stream.shutdown(socket.SHUT_WR)

    def kill(self) -> None:
        """Kill the process and hear no more of it."""
        self._process.kill()
        self._close()

    async def ended(self) -> int:
        """Wait until the process has ended and give its return code; negative is a signal's number."""
        return await asyncio.to_thread(self._process.wait)

    def _write(self) -> None:
        try:
            sent = self._stream.send(self._unsent)
        except BlockingIOError:
            return
        except (BrokenPipeError, ConnectionResetError):
            sent = len(self._unsent)  # the reader notices the end and what it means
        del self._unsent[:sent]

    def _write_on(self) -> None:
        self._write()
        if not self._unsent:
            self._loop.remove_writer(self._stream)

    def _hear(self) -> None:
        assert self._process.stderr is not None
        try:
            piece = os.read(self._process.stderr.fileno(), _PIECE)
        except BlockingIOError:
            return
        self.complaints = (self.complaints + piece.decode("utf-8", "replace"))[-_TAIL:]
        if not piece:
            self._loop.remove_reader(self._process.stderr.fileno())

    def _gone(self) -> None:
        self._hear()
        self._process.kill()  # a process that has closed its socket has no other way to be of use
        self._close()
        self._on_gone()

    def _close(self) -> None:
        if not self._open:
            return
        self._open = False
        assert self._process.stderr is not None
        self._loop.remove_reader(self._stream)
        self._loop.remove_writer(self._stream)
        self._loop.remove_reader(self._process.stderr.fileno())
        self._stream.close()
        self._process.stderr.close()


def _spawn(descriptor: int, memory_bytes: int) -> subprocess.Popen[bytes]:
    # Ctrl-C between start and the child's own handling of signals would kill it with a traceback.
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return subprocess.Popen(
            [
                *(sys.executable, "-P", "-X", "faulthandler", "-m", "processor_svc.child"),
                *(str(descriptor), str(os.getpid()), str(memory_bytes)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(descriptor,),
            env=_environment(os.environ),
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Give the child our import path, in our order, so that it imports what we would."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    return {**ours, **MALLOC, "PYTHONPATH": path}

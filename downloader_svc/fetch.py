"""The download of one picture: over the guarded client, into an open file, hashed and judged on its way."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import io
import os
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from downloader_svc.sniff import ENOUGH_BYTES, Kind, Sniffed, disagreements, sniff
from imagemill.domain.failures import Failure, FailureCode, PermanentError, PipelineError, TransientError
from imagemill.http import Answer, Deadline, GuardedClient
from imagemill.http.answers import failure_of
from imagemill.http.bodies import PIECE_BYTES, Pace, unpacker_for

_QUICK_STATUSES = (429, 500, 502, 503, 504)
_QUICK_CODES = (
    FailureCode.DNS_FAILED,
    FailureCode.CONNECT_TIMEOUT,
    FailureCode.CONNECTION_REFUSED,
    FailureCode.CONNECTION_FAILED,
    FailureCode.TLS_FAILED,
    FailureCode.PROTOCOL_ERROR,
)
_STORE_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """How large a picture may be, and how often a download is tried again on the spot."""

    max_bytes: int = 100_000_000
    """The largest picture, in bytes, counted after unpacking."""
    min_bytes: int = 100
    """The smallest: less is a tracking pixel or a note, not a picture."""
    quick_retries: int = 2
    """Tries after the first within one download, for troubles that often pass within seconds."""
    backoff_s: float = 1.0
    """The pause before the first quick retry, in seconds; it doubles each time."""
    longest_pause_s: float = 5.0
    """The longest `Retry-After` waited for on the spot, in seconds; the queue waits for longer ones."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time comes from, and how it is spent waiting: the seam for tests."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    pause: Callable[[float], Awaitable[object]] = asyncio.sleep


@dataclass(frozen=True, slots=True)
class Fetched:
    """A picture that has come whole; its bytes are the first `size_bytes` of the sink."""

    sha256: str
    size_bytes: int
    format: str
    """What the first bytes say: jpeg, png, gif, webp, tiff, bmp, avif or ico; of what is refused the usual file
    extension, empty if there is none."""
    content_type: str
    """What the server says, cut to printable ASCII; empty when it says nothing."""
    http_status: int
    final_url: str
    tries: int
    download_ms: float
    """From the first try's start to the last byte, pauses included, waiting for turns at the host not."""
    warnings: tuple[str, ...]
    """Sentences on what disagrees with the first bytes and did no harm."""
    refusal: Failure | None = None
    """Why it can't be rendered; only where `keep_refused` was asked for."""


async def fetch(
    client: GuardedClient,
    url: str,
    sink: io.FileIO,
    limits: FetchLimits = FetchLimits(),
    timing: Timing = Timing(),
    *,
    keep_refused: bool = False,
) -> Fetched:
    """Download the picture at the valid `url` into `sink`, from its first byte on.

    With `keep_refused`, files of other formats are downloaded too and come with the `refusal`.

    `sink` is an unbuffered file, neither truncated nor synced; whatever lies behind the picture's end stays.
    Writing happens in the event loop: into the page cache it takes less time than a thread's hop.

    Raises `TransientError` and `PermanentError` with every code of the families input, network, server and
    content, and STORE_FULL or STORE_UNAVAILABLE when the sink refuses.
    """
    deadline = Deadline(client.settings.total_deadline_s)
    download = _Download(client, url, sink, limits, timing, deadline, keep_refused, timing.monotonic())
    try:
        async with download.deadline:
            return await download.with_quick_retries()
    except PipelineError as error:
        download.sign(error)
        raise
    except TimeoutError as error:
        if not download.deadline.expired:
            raise
        late = TransientError(
            FailureCode.DOWNLOAD_TIMEOUT,
            f"The download was not complete within {client.settings.total_deadline_s:g} seconds; "
            "allow more time for large pictures and slow hosts.",
        )
        download.sign(late)
        raise late from error


def quick_delay(error: TransientError, tries: int, limits: FetchLimits) -> float | None:
    """Return the seconds after which to try again on the spot, or None to leave it to the queue."""
    quick = error.failure.http_status in _QUICK_STATUSES or error.failure.code in _QUICK_CODES
    if not quick or tries > limits.quick_retries:
        return None
    wish = error.retry_after or 0.0
    if wish > limits.longest_pause_s:
        return None
    return max(wish, limits.backoff_s * 2.0 ** (tries - 1))


@dataclass(slots=True)
class _Download:
    client: GuardedClient
    url: str
    sink: io.FileIO
    limits: FetchLimits
    timing: Timing
    deadline: Deadline
    keep_refused: bool
    started: float
    tries: int = 1

    @property
    def took_ms(self) -> float:
        # Whoever waits for a turn downloads nothing: else it would be the host's own other downloads that are measured.
        return (self.timing.monotonic() - self.started - self.deadline.waited_s) * 1000.0

    def sign(self, error: PipelineError) -> None:
        """Note on an error how often and how long it was tried."""
        error.failure = replace(error.failure, tries=self.tries)
        error.download_ms = self.took_ms

    async def with_quick_retries(self) -> Fetched:
        while True:
            try:
                async with self.client.get(self.url, self.deadline) as answer:
                    receipt = await self._received(answer)
                    return _fetched(answer, receipt, self.tries, self.took_ms)
            except TransientError as error:
                delay = quick_delay(error, self.tries, self.limits)
                # No pause past the end: this failure says more than the timeout that would follow.
                if delay is None or delay >= self.deadline.left_s:
                    raise
            # Outside the handler and the answer: a pause must hold neither a connection nor a traceback.
            await self.timing.pause(delay)
            self.tries += 1

    async def _received(self, answer: Answer) -> _Receipt:
        try:
            return await self._receive(answer)
        except PipelineError as error:
            # Whatever is wrong with the body, the server did answer.
            error.failure = replace(error.failure, http_status=answer.status)
            raise

    async def _receive(self, answer: Answer) -> _Receipt:
        if failure := failure_of(answer, self.timing.wall()):
            raise failure
        receipt = _Receipt(self.sink.fileno(), self.limits, answer.status, self.keep_refused)
        receipt.refuse_length(answer.headers.get("Content-Length", ""))
        unpacker = unpacker_for(answer.headers.get("Content-Encoding", ""))
        settings = self.client.settings
        pace = Pace(settings.min_bytes_per_s, settings.throughput_window_s, self.timing.monotonic)
        async for piece in answer.body:
            pace.note(len(piece))
            receipt.note_sent(len(piece))
            for number, content in enumerate(unpacker.feed(piece)):
                if number:
                    # A small packed piece may unpack to megabytes: the other downloads get a turn in between.
                    await asyncio.sleep(0)
                receipt.add(content)
        receipt.judge_empty()
        unpacker.finish()
        receipt.judge_end()
        return receipt


def _fetched(answer: Answer, receipt: _Receipt, tries: int, took_ms: float) -> Fetched:
    content_type = _UNPRINTABLE.sub("", answer.headers.get("Content-Type", ""))[:100]
    return Fetched(
        sha256=receipt.digest(),
        size_bytes=receipt.size,
        format=receipt.format,
        content_type=content_type,
        http_status=answer.status,
        final_url=answer.url,
        tries=tries,
        download_ms=took_ms,
        warnings=() if receipt.refusal else disagreements(receipt.format, content_type, answer.url),
        refusal=receipt.refusal,
    )


class _Receipt:
    """What has come so far: written, hashed, counted, and refused as soon as it can't become a picture."""

    def __init__(self, fd: int, limits: FetchLimits, http_status: int, keep_refused: bool) -> None:
        self.size = 0
        self.format = ""
        self.refusal: Failure | None = None
        self._sent = 0
        self._judged = False
        self._keep_refused = keep_refused
        self._fd = fd
        self._limits = limits
        self._status = http_status
        self._hash = hashlib.sha256()
        self._head = b""

    def digest(self) -> str:
        return self._hash.hexdigest()

    def refuse_length(self, announced: str) -> None:
        if announced.isdecimal() and int(announced) > self._limits.max_bytes:
            raise self._too_large()

    def note_sent(self, number: int) -> None:
        """Count what came over the wire: a packed body may go on for ever without becoming any longer unpacked."""
        self._sent += number
        if self._sent > self._limits.max_bytes + PIECE_BYTES:
            raise self._too_large()

    def add(self, content: bytes) -> None:
        if self.size + len(content) > self._limits.max_bytes:
            raise self._too_large()
        if not self._judged:
            self._head += content[: ENOUGH_BYTES - len(self._head)]
            if len(self._head) >= ENOUGH_BYTES:
                self._judge_head()
        self._hash.update(content)
        _write(self._fd, content, self.size)
        self.size += len(content)

    def judge_empty(self) -> None:
        if not self.size:
            raise TransientError(
                FailureCode.CONTENT_EMPTY,
                "The server answered without any content; open the URL in a browser.",
                http_status=self._status,
            )

    def judge_end(self) -> None:
        if not self._judged:
            self._judge_head()
        if self.size < self._limits.min_bytes:
            raise PermanentError(
                FailureCode.CONTENT_TOO_SMALL,
                f"The picture has {self.size} bytes; less than {self._limits.min_bytes} are not taken, "
                "since it is likely a tracking pixel or a placeholder.",
                http_status=self._status,
            )

    def _judge_head(self) -> None:
        self._judged = True
        sniffed = sniff(self._head)
        if sniffed.kind is Kind.PICTURE:
            self.format = sniffed.format
            return
        error = _no_picture(sniffed, self._status)
        if not self._keep_refused or isinstance(error, TransientError):
            raise error
        self.format, self.refusal = sniffed.extension, error.failure

    def _too_large(self) -> PermanentError:
        return PermanentError(
            FailureCode.CONTENT_TOO_LARGE,
            f"The picture is larger than the {self._limits.max_bytes / 1e6:g} MB that the mill takes; "
            "provide a smaller file.",
            http_status=self._status,
        )


def _no_picture(sniffed: Sniffed, http_status: int) -> PipelineError:
    if sniffed.kind is Kind.HTML:
        message = "The server sent a web page instead of a picture; open the URL in a browser to see what it says."
        return TransientError(FailureCode.CONTENT_IS_HTML, message, http_status=http_status)
    if sniffed.kind is Kind.UNSUPPORTED:
        message = (
            f"The file is {sniffed.format}, which the mill does not render; find the picture as JPEG, PNG or WebP."
        )
        return PermanentError(FailureCode.FORMAT_UNSUPPORTED, message, http_status=http_status)
    message = "The content is no picture: its first bytes belong to no format that the mill knows; check the URL."
    return PermanentError(FailureCode.NOT_AN_IMAGE, message, http_status=http_status)


def _write(fd: int, content: bytes, offset: int) -> None:
    try:
        written = os.pwrite(fd, content, offset)
        while written < len(content):
            written += os.pwrite(fd, memoryview(content)[written:], offset + written)
    except OSError as error:
        if error.errno in _STORE_FULL:
            raise TransientError(FailureCode.STORE_FULL, "The disk for downloads is full; make room.") from error
        raise TransientError(
            FailureCode.STORE_UNAVAILABLE, "The place for downloads can't be written; see that it is still there."
        ) from error

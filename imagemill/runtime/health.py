"""Whether a process has all that it needs, looked at again and again, and told on the gRPC health service.

A part that is away is no reason to end: the process reports NOT_SERVING, says in its log which part it is, and reports
SERVING by itself when the part is back.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NoReturn, Protocol, TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from imagemill.ports.unavailable import PartUnavailable
from imagemill.runtime import metrics

log = logging.getLogger(__name__)

STORAGE, GATEWAY = "imagemill.v1.StorageService", "imagemill.v1.BatchService"
"""The services that others need, by their full names."""
LOOK_S = 1.0
"""How long after an answer a part is asked again, in seconds."""
ANSWER_S = 5.0
"""How long a part may take to answer before it counts as away, in seconds."""

Check = Callable[[], Awaitable[None]]
"""Returns when a part can be used, and raises `PartUnavailable` that says why not."""


class Checked(Protocol):
    """A port's adapter."""

    async def check(self) -> None:
        """See whether it can be used now. Raises `PartUnavailable`."""


CheckedT = TypeVar("CheckedT", bound=Checked)


class Parts:
    """The parts that a process needs."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self._away: dict[str, str] = {}
        self._opening: set[str] = set()
        self._added = asyncio.Event()

    def need(self, name: str, check: Check) -> None:
        """Look at a part from now on; `name` is how people call it."""
        self._checks[name] = check
        self._added.set()

    async def opened(
        self, name: str, open_part: Callable[[], CheckedT | Awaitable[CheckedT]], stop: asyncio.Event
    ) -> CheckedT | None:
        """Open a part, waiting for it as long as it is away, and look at it from then on.

        None when `stop` is set before that.
        """
        self._opening.add(name)
        while not stop.is_set():
            try:
                part = open_part()
                opened: CheckedT = await part if inspect.isawaitable(part) else part
            except (PartUnavailable, OSError) as error:
                self._is_away(name, _words(error))
                self.need(name, _away_still(_words(error)))
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await stop.wait()
            else:
                self._opening.remove(name)
                self.need(name, opened.check)
                return opened
        return None

    async def watch(self, tell: Callable[[bool], Awaitable[None]]) -> NoReturn:
        """Look at all parts again and again, and tell each time whether all of them are there.

        A process whose needs are not known yet, or not looked at, has not all that it needs.
        """
        while True:
            self._added.clear()
            looked_at = dict(self._checks)
            await asyncio.gather(*(self._look(name, check) for name, check in looked_at.items()))
            await tell(bool(looked_at) and looked_at == self._checks and not self._away and not self._opening)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._added.wait()

    async def _look(self, name: str, check: Check) -> None:
        try:
            async with asyncio.timeout(ANSWER_S):
                await check()
        except TimeoutError:
            self._is_away(name, f"it does not answer within {ANSWER_S:g} s")
        except PartUnavailable as error:
            self._is_away(name, str(error))
        except Exception as error:  # a fault of ours must not pass for a part that is there
            self._is_away(name, f"it can't be asked ({type(error).__name__})")
        else:
            metrics.PART_UP.set(1, name)
            if self._away.pop(name, None) is not None:
                rest = f"; still missing: {', '.join(self._away)}" if self._away else ""
                log.info("%s is there%s.", _begun(name), rest, extra={"action": "part_back"})

    def _is_away(self, name: str, why: str) -> None:
        if self._away.get(name) != why:
            log.warning("NOT_SERVING: %s is away: %s.", name, why, extra={"action": "part_away"})
        self._away[name] = why
        metrics.PART_UP.set(0, name)


def service_answers(channel: grpc.aio.Channel, target: str, service: str) -> Check:
    """Whether a service of the mill is there, with all that it needs itself; `service` is its full name."""
    stub = health_pb2_grpc.HealthStub(channel)

    async def check() -> None:
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=ANSWER_S)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise PartUnavailable(f"what answers at {target} is another service") from error
            raise PartUnavailable(f"nothing answers at {target} ({error.code().name})") from error
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise PartUnavailable(f"it answers at {target}, but lacks a part itself; its log says which")

    return check


def _away_still(why: str) -> Check:
    async def check() -> None:
        raise PartUnavailable(why)

    return check


def _words(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'it'} can't be used: {error.strerror or 'input/output error'}"
    return str(error)


def _begun(name: str) -> str:
    return name[:1].upper() + name[1:]

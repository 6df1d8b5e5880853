"""Names and their addresses: looked up aside from the event loop, and remembered for a while.

aiohttp has a cache of names too, but without a bound, without the names that do not exist, and apart for each port.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from imagemill.domain.failures import Failure, PermanentError
from imagemill.http.settings import HttpSettings

ADDRESSES_PER_FAMILY = 2
"""Addresses that are tried of each IP version: each that doesn't answer is an open file while the next is tried."""

_LOOKUPS_AT_ONCE = 64
"""A dead name server holds a thread for half a minute; this many may be held."""

Rows = list[tuple[Any, ...]]


class Lookups:
    """Asks the system's resolver, on threads that nobody waits for.

    Those of the event loop are too few when a list has hundreds of hosts, and the end of a program would wait for
    them: for one whose name server is silent, half a minute.
    """

    def __init__(self, at_once: int = _LOOKUPS_AT_ONCE) -> None:
        self._turns = asyncio.Semaphore(at_once)

    async def rows(self, host: str, port: int, family: socket.AddressFamily, timeout_s: float) -> Rows:
        """Return what `getaddrinfo` says of `host`.

        Raises `OSError`: `gaierror` EAI_AGAIN when there is no answer within `timeout_s` seconds, and EAI_NONAME for
        a name that can't even be asked for.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._turns.acquire()
                return await self._asked(host, port, family)
        except TimeoutError as error:
            # With an errno: aiohttp takes a bare timeout for its own connect timeout.
            raise socket.gaierror(socket.EAI_AGAIN, "no answer in time") from error
        except UnicodeError as error:
            raise socket.gaierror(socket.EAI_NONAME, "the name can't be encoded") from error

    def _asked(self, host: str, port: int, family: socket.AddressFamily) -> asyncio.Future[Rows]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Rows] = loop.create_future()

        def settle(rows: Rows, error: Exception | None) -> None:
            self._turns.release()
            if answer.done():
                return
            if error is None:
                answer.set_result(rows)
            else:
                answer.set_exception(error)

        def ask() -> None:
            rows: Rows = []
            failure = None
            try:
                rows = list(socket.getaddrinfo(host, port, family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG))
            except (OSError, UnicodeError) as error:
                failure = error
            _call(loop, lambda: settle(rows, failure))

        try:
            threading.Thread(target=ask, name=f"lookup of {host}", daemon=True).start()
        except RuntimeError as error:
            self._turns.release()
            raise socket.gaierror(socket.EAI_AGAIN, "no thread to ask on") from error
        return answer


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(function)
    except RuntimeError:
        return  # the loop is closed: whoever asked is gone


@dataclass(frozen=True, slots=True)
class _Known:
    """What became of a lookup: addresses, or the error to raise; good until `end` on the loop's clock."""

    end: float
    addresses: tuple[ResolveResult, ...] = ()
    refusal: Failure | None = None
    number: int | None = None

    def results(self, port: int) -> list[ResolveResult]:
        if self.refusal is not None:
            raise PermanentError(self.refusal.code, self.refusal.message)
        if self.number is not None:
            raise socket.gaierror(self.number, "the name could not be looked up")
        return [_at(address, port) for address in self.addresses]


class RememberedNames(AbstractResolver):
    """Answers from memory where it can, and asks `resolver` once for all who want the same name at the same time.

    Addresses, and refusals because of them, are remembered for `dns_cache_s`; that there are none only for
    `dns_negative_cache_s`. Of each IP version the first few addresses are returned.
    """

    def __init__(self, resolver: AbstractResolver, settings: HttpSettings) -> None:
        self._resolver = resolver
        self._settings = settings
        self._known: OrderedDict[tuple[str, int], _Known] = OrderedDict()
        self._asking: dict[tuple[str, int], asyncio.Task[_Known]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of `host`; raises what `resolver` raises, remembered or not."""
        key = (host.lower(), int(family))
        known = self._known.get(key)
        if known is not None and asyncio.get_running_loop().time() < known.end:
            self._known.move_to_end(key)
            return known.results(port)
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._ask(key, host, family))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        # Whoever gives up takes the answer from nobody else.
        return (await asyncio.shield(task)).results(port)

    async def close(self) -> None:
        """Break off what is being asked."""
        for task in list(self._asking.values()):
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        await self._resolver.close()

    async def _ask(self, key: tuple[str, int], host: str, family: socket.AddressFamily) -> _Known:
        seconds = self._settings.dns_cache_s
        try:
            known = _Known(0.0, _first_few(await self._resolver.resolve(host, 0, family)))
        except PermanentError as error:
            known = _Known(0.0, refusal=error.failure)
        except OSError as error:
            known = _Known(0.0, number=error.errno or socket.EAI_FAIL)
            seconds = self._settings.dns_negative_cache_s
        known = replace(known, end=asyncio.get_running_loop().time() + seconds)
        self._known[key] = known
        self._known.move_to_end(key)
        while len(self._known) > self._settings.dns_cache_names:
            self._known.popitem(last=False)
        return known


def _at(address: ResolveResult, port: int) -> ResolveResult:
    result = address.copy()
    result["port"] = port
    return result


def _first_few(addresses: list[ResolveResult]) -> tuple[ResolveResult, ...]:
    """Return the first addresses of each family, in the order in which the system prefers them."""
    taken: dict[int, int] = {}
    kept = []
    for address in addresses:
        family = int(address["family"])
        taken[family] = taken.get(family, 0) + 1
        if taken[family] <= ADDRESSES_PER_FAMILY:
            kept.append(address)
    return tuple(kept)

"""The storage service as others reach it: by calls that may be lost on the way there or back, while it lives."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

import grpc

from imagemill.adapters.sql.sqlite import SqliteRecords
from imagemill.ports.records import Records, Unit
from imagemill.v1 import storage_service_pb2 as inner
from storage_svc.inner_api import InnerApi
from storage_svc.watch import Watches
from tests.ordering.schedules import Event, Mishap
from tests.ordering.truth import Truth

LONGEST_HOP_S = 0.01
T = TypeVar("T")
Response = TypeVar("Response")


class Audited:
    """The records, looked at after every unit."""

    def __init__(self, records: SqliteRecords, truth: Truth) -> None:
        self._records = records
        self.truth = truth
        self.found: AssertionError | None = None
        """What did not hold, the first time."""

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Unit]:
        async with self._records.write() as unit:
            yield unit
        try:
            self.truth.look()
        except AssertionError as error:
            self.found = self.found or error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._records, name)

    @property
    def records(self) -> Records:
        """Itself, as what it passes for."""
        return cast(Records, self)


class Store:
    """A storage service that serves until it dies."""

    def __init__(self, api: InnerApi, watches: Watches) -> None:
        self.api = api
        self.watches = watches
        self.tasks: set[asyncio.Task[Any]] = set()
        self.dead = False

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Do something that dies with it."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task


class Calls:
    """What a client of the store calls; each call finds whichever store lives then."""

    def __init__(self, mishaps: Mapping[int, Event], chance: random.Random, note: Callable[[str], None]) -> None:
        self.store: Store | None = None
        self._mishaps = mishaps
        self._chance = chance
        self._note = note
        self._made = 0

    async def ClaimItems(self, request: inner.ClaimItemsRequest) -> inner.ClaimItemsResponse:
        return await self._call("ClaimItems", request, inner.ClaimItemsResponse)

    async def ConfirmClaim(self, request: inner.ConfirmClaimRequest) -> inner.ConfirmClaimResponse:
        return await self._call("ConfirmClaim", request, inner.ConfirmClaimResponse)

    async def FilterWanted(
        self,
        request: inner.FilterWantedRequest,
        timeout: float,  # noqa: ASYNC109 - a stub's method has it
    ) -> inner.FilterWantedResponse:
        try:
            async with asyncio.timeout(timeout):
                return await self._call("FilterWanted", request, inner.FilterWantedResponse)
        except TimeoutError as error:
            raise _failed(grpc.StatusCode.DEADLINE_EXCEEDED) from error

    async def _call(self, name: str, request: object, answer: type[Response]) -> Response:
        self._made += 1
        event = self._mishaps.get(self._made)
        self._note(f"call {self._made}, {name}" + (f": {event.mishap.value}" if event else ""))
        await self._hop()
        store = self.store
        if store is None or (event and event.mishap is Mishap.CALL_LOST):
            raise _failed(grpc.StatusCode.UNAVAILABLE)
        method: Callable[[Any, Any], Coroutine[Any, Any, Response]] = getattr(store.api, name)
        done = store.start(method(request, None))
        try:
            await asyncio.wait((done,))
        except asyncio.CancelledError:
            # The call of one who dies is broken off, or done all the same.
            if self._chance.random() < 0.5:
                done.cancel()
            raise
        await self._hop()
        if store.dead or event:
            raise _failed(grpc.StatusCode.UNAVAILABLE)
        result = done.result()
        assert isinstance(result, answer)
        return result

    async def _hop(self) -> None:
        await asyncio.sleep(self._chance.random() * LONGEST_HOP_S)


def _failed(code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata())

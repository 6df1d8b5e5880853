"""What happens to one original: looked up, borrowed, rendered, stored, given back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from imagemill import codec
from imagemill.domain.failures import Failure, FailureCode, PermanentError, PipelineError
from imagemill.domain.items import Facts, ItemEvent, Original, Render, State, Timings
from imagemill.domain.recipe import extension
from imagemill.ports.blobs import Blobs, Borrowed, Originals
from imagemill.runtime import metrics
from imagemill.runtime.jobs import ASK_S, ProcessJob
from imagemill.runtime.stage import JobFailed, Outcome, StageBroken
from imagemill.strikes import Point, strike
from imagemill.v1 import storage_service_pb2 as inner
from processor_svc.jobs import Render as MadeRender
from processor_svc.jobs import RenderJob, RenderResult
from processor_svc.pool import PoolBroken, RenderPool

if TYPE_CHECKING:  # the stubs alone know asynchronous stubs by a type of their own
    from imagemill.v1.storage_service_pb2_grpc import StorageServiceAsyncStub

T = TypeVar("T")

log = logging.getLogger(__name__)

_UNDECODED = frozenset(
    {
        FailureCode.DECODE_FAILED,
        FailureCode.CONTENT_TRUNCATED,
        FailureCode.TOO_MANY_PIXELS,
        FailureCode.MEMORY_EXCEEDED,
        FailureCode.RENDER_TIMEOUT,
        FailureCode.RENDER_CRASHED,
    }
)
"""What a rendering process can say of bytes that it can't decode."""


class Darkroom:
    """Turns one original into its stored renders."""

    def __init__(
        self, pool: RenderPool, blobs: Blobs, originals: Originals, storage: StorageServiceAsyncStub, max_pixels: int
    ) -> None:
        self._pool = pool
        self._blobs = blobs
        self._originals = originals
        self._storage = storage
        self.max_pixels = max_pixels
        """The largest picture that is decoded, from the next job on."""

    async def develop(self, job: ProcessJob) -> Outcome[None]:
        """Render and store, unless the same bytes were rendered for another item; gives the original back.

        Raises `PipelineError` as `RenderPool.render` and `Blobs.adopt` do, `JobFailed` when the bytes could not be
        decoded and were put aside, and `StageBroken` when nothing can be rendered any more.
        """
        try:
            if twin := await self._facts_of_twin(job):
                return Outcome(_event(job, State.SUCCEEDED, twin))
            async with self._originals.borrow(job.original_ref) as borrowed:
                if borrowed is None or not _is_whole(borrowed, job.original):
                    return _download_again(job)
                if job.refusal is not None:
                    # Before a decoder sees it: its first bytes are of no format that is rendered.
                    return await self._put_aside(job, borrowed, _error_of(job.refusal))
                return await self._print(job, borrowed)
        finally:
            await self._originals.release(job.original_ref)

    async def _print(self, job: ProcessJob, borrowed: Borrowed) -> Outcome[None]:
        """Render and store."""
        outputs = {variant.name: self._blobs.scratch() for variant in job.recipe.variants}
        try:
            result = await self._rendered(self._order(job, borrowed, outputs))
            if self._originals.is_void(job.original_ref):
                return _download_again(job)
            return await self._store(job, result, outputs)
        except PipelineError as error:
            if self._originals.is_void(job.original_ref) or not borrowed.path.exists():
                # Deleted under the renderer's hands, since a twin was done with it.
                return _download_again(job)
            if not job.keep_undecodable or error.failure.code not in _UNDECODED:
                raise
            return await self._put_aside(job, borrowed, error)
        finally:
            _discard(outputs)

    async def drop(self, job: ProcessJob) -> None:
        """Give back the original of a job that will not be done."""
        await self._originals.release(job.original_ref)

    async def _put_aside(self, job: ProcessJob, borrowed: Borrowed, error: PipelineError) -> Outcome[None]:
        """Copy the original to where it lasts, then fail as it would have failed without; raises `JobFailed`."""
        key = f"batches/{job.batch_id}/undecodable/{job.original.sha256}"
        if not await self._blobs.contains([key]):
            try:
                await self._blobs.copy(borrowed.path, job.original.size_bytes, key)
                strike(Point.UNDECODABLE_STORED)
            except PipelineError:
                if not self._originals.is_void(job.original_ref):
                    raise
            if self._originals.is_void(job.original_ref):
                await self._blobs.delete_prefix(key)
                return _download_again(job)
        original = replace(job.original, undecodable_key=key)
        raise JobFailed(error, replace(job.facts, original=original), (key,))

    async def _rendered(self, order: RenderJob) -> RenderResult:
        try:
            return await self._pool.render(order)
        except PoolBroken as error:
            raise StageBroken("no rendering process can be started") from error

    def _order(self, job: ProcessJob, borrowed: Borrowed, outputs: Mapping[str, Path]) -> RenderJob:
        return RenderJob(
            path=str(borrowed.path),
            size_bytes=job.original.size_bytes,
            format=job.original.format,
            recipe=job.recipe,
            outputs={name: str(path) for name, path in outputs.items()},
            max_pixels=self.max_pixels,
        )

    async def _facts_of_twin(self, job: ProcessJob) -> Facts | None:
        """The facts of a succeeded item with the same bytes; asked for only when all its renders are there."""
        if not await self._blobs.contains([key for _, key in _expected_keys(job)]):
            return None
        request = inner.FindTwinRequest(batch_id=job.batch_id, sha256=job.original.sha256)
        try:
            response = await self._storage.FindTwin(request, timeout=ASK_S)
        except grpc.aio.AioRpcError as error:
            # Rendered once more, they are the same pictures under the same keys.
            log.warning("The store can't be asked for a twin (%s).", error.code().name)
            return None
        if not response.HasField("item"):
            return None
        twin = codec.facts_value(response.item)
        timings = Timings(download_ms=job.download_ms)
        return replace(twin, timings=timings, original=_seen_here(job.original, twin.original))

    async def _store(self, job: ProcessJob, result: RenderResult, outputs: Mapping[str, Path]) -> Outcome[None]:
        started = time.perf_counter()
        storing = [self._stored(job, made, outputs[made.name]) for made in result.renders]
        # Side by side: a store far away is slow to answer.
        renders = await _all_of(storing)
        store_ms = (time.perf_counter() - started) * 1000
        metrics.RENDERED_BYTES.add(by=sum(render.size_bytes for render in renders))
        facts = Facts(None, _described(job.original, result), tuple(renders), _timings(job, result, store_ms))
        return Outcome(_event(job, State.SUCCEEDED, facts), keys=tuple(render.key for render in renders))

    async def _stored(self, job: ProcessJob, made: MadeRender, output: Path) -> Render:
        key = _key(job, made.name, made.extension)
        await self._blobs.adopt(output, key)
        strike(Point.RENDER_STORED)
        return Render(made.name, key, made.format, made.width, made.height, made.size_bytes)


async def _all_of(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """What all of them return, or the error of one when none of them runs any more."""
    if len(work) == 1:
        # The usual case, without a task of its own.
        return [await work[0]]
    done = await asyncio.gather(*work, return_exceptions=True)
    results: list[T] = []
    for each in done:
        if isinstance(each, BaseException):
            raise each
        results.append(each)
    return results


def _error_of(refusal: Failure) -> PipelineError:
    return PermanentError(refusal.code, refusal.message, http_status=refusal.http_status)


def _expected_keys(job: ProcessJob) -> Iterator[tuple[str, str]]:
    for variant in job.recipe.variants:
        yield variant.name, _key(job, variant.name, extension(variant, job.original.format))


def _key(job: ProcessJob, variant: str, ending: str) -> str:
    return f"batches/{job.batch_id}/renders/{job.original.sha256}/{job.fingerprint}/{variant}.{ending}"


def _event(job: ProcessJob, state: State, facts: Facts) -> ItemEvent:
    return ItemEvent(job.batch_id, job.index, job.attempt, state, facts)


def _download_again(job: ProcessJob) -> Outcome[None]:
    """The original is gone, by no fault of the item's: another download outside its retries."""
    return Outcome(ItemEvent(job.batch_id, job.index, job.attempt, State.PENDING, outside_budget=True))


def _is_whole(borrowed: Borrowed, original: Original) -> bool:
    # A power loss may have left less of a kept original than was written.
    return os.stat(borrowed.path).st_size >= original.size_bytes


def _discard(outputs: Mapping[str, Path]) -> None:
    """Remove what was rendered and not stored."""
    for path in outputs.values():
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _described(original: Original, result: RenderResult) -> Original:
    source = result.source
    return replace(
        original,
        width=source.width,
        height=source.height,
        mode=source.mode,
        exif=source.exif,
        warnings=(*original.warnings, *result.warnings),
    )


def _seen_here(original: Original, twin: Original | None) -> Original:
    """This item's own download, described as its twin was."""
    if twin is None:
        return original
    return replace(original, width=twin.width, height=twin.height, mode=twin.mode, exif=twin.exif)


def _timings(job: ProcessJob, result: RenderResult, store_ms: float) -> Timings:
    spent = result.timings
    return Timings(job.download_ms, spent.decode_ms, spent.resize_ms, spent.encode_ms, store_ms, spent.cpu_ms)

"""Intake: what callers send, judged and handed to the store chunk by chunk.

A bad line is an item that failed, never a failed call; a bad recipe or id is a failed call that names the field.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from imagemill import codec
from imagemill.domain.failures import Failure, FailureCode, PermanentError
from imagemill.domain.recipe import Recipe, RecipeError
from imagemill.domain.sources import host_of, validate_url
from imagemill.runtime import traces
from imagemill.runtime.calls import invalid
from imagemill.strikes import Point, strike
from imagemill.v1 import batch_pb2
from imagemill.v1 import batch_service_pb2 as api
from imagemill.v1 import storage_service_pb2 as inner

if TYPE_CHECKING:  # the stubs alone know asynchronous stubs by a type of their own
    from imagemill.v1.storage_service_pb2_grpc import StorageServiceAsyncStub

LARGEST_CHUNK = 5_000
"""Items in one message."""
DEFAULT_PRIORITY = 10
LARGEST_PRIORITY = 100
_BATCH_ID = re.compile(r"[a-z0-9-]{1,64}")


async def take_small(storage: StorageServiceAsyncStub, request: api.CreateBatchRequest) -> batch_pb2.Batch:
    """Take a batch that came in one message. Raises `CallError`."""
    _check_number(request.items)
    batch = await _open(storage, request.spec)
    await _append(storage, batch, 0, request.items)
    return await _finish(storage, batch, request.spec, len(request.items))


async def take_stream(
    storage: StorageServiceAsyncStub, requests: AsyncIterator[api.ImportBatchRequest]
) -> batch_pb2.Batch:
    """Take a batch that comes in chunks; each is durable before the next is read. Raises `CallError`."""
    batch: batch_pb2.Batch | None = None
    spec, total = api.BatchSpec(), None
    async for request in requests:
        if request.WhichOneof("part") == "spec":
            if batch is not None:
                raise invalid("An import has one spec.", ("spec", "is only the first message"))
            spec, batch = request.spec, await _open(storage, request.spec)
            continue
        if batch is None:
            raise invalid("An import begins with its spec.", ("spec", "is the first message"))
        chunk = request.chunk
        _check_place(chunk.first_index, total, batch.progress.total)
        _check_number(chunk.items)
        await _append(storage, batch, chunk.first_index, chunk.items)
        total = chunk.first_index + len(chunk.items)
    if batch is None:
        raise invalid("An import begins with its spec.", ("spec", "is the first message"))
    return await _finish(storage, batch, spec, total or 0)


def _check_place(first_index: int, expected: int | None, there: int) -> None:
    """A call may begin anywhere in what is there, so that no item is ever left out; then chunk follows chunk."""
    if expected is None:
        if not 0 <= first_index <= there:
            problem = f"is at most {there}, the number of items that the batch has" if there else "is 0 in a new batch"
            raise invalid("An import goes on where the one before ended.", ("chunk.first_index", problem))
    elif first_index != expected:
        problem = f"is {expected}, where the chunk before ended"
        raise invalid("The chunks of an import follow one another.", ("chunk.first_index", problem))


def _check_number(sources: Sequence[api.ItemSource]) -> None:
    if len(sources) > LARGEST_CHUNK:
        raise invalid("Too many items in one message.", ("items", f"has at most {LARGEST_CHUNK}"))


async def _open(storage: StorageServiceAsyncStub, spec: api.BatchSpec) -> batch_pb2.Batch:
    recipe = _checked(spec)
    opened = api.BatchSpec()
    opened.CopyFrom(spec)
    opened.batch_id = spec.batch_id or uuid.uuid4().hex
    opened.batch.priority = spec.batch.priority or DEFAULT_PRIORITY
    opened.batch.recipe_fingerprint = recipe.fingerprint()
    request = inner.OpenBatchRequest(spec=opened, recipe=recipe.to_json(), trace=traces.present())
    response = await storage.OpenBatch(request)
    strike(Point.INTAKE_OPENED)
    return response.batch


def _checked(spec: api.BatchSpec) -> Recipe:
    """The recipe of a valid spec. Raises `CallError` that names every field at fault."""
    problems: list[tuple[str, str]] = []
    if spec.batch_id and not _BATCH_ID.fullmatch(spec.batch_id):
        problems.append(("spec.batch_id", "has 1 to 64 characters of a-z, 0-9 and '-'"))
    if not 0 <= spec.batch.priority <= LARGEST_PRIORITY:
        problems.append(("spec.batch.priority", f"lies between 1 and {LARGEST_PRIORITY}"))
    recipe = None
    try:
        recipe = Recipe.parse(codec.recipe_mapping(spec.batch.recipe))
    except RecipeError as error:
        problems += [(f"spec.batch.recipe.{each.field}", each.problem) for each in error.problems]
    if problems or recipe is None:
        sentence = "; ".join(f"{field} {problem}" for field, problem in problems)
        raise invalid(f"The batch can't be taken: {sentence}.", *problems, reason="BATCH_INVALID")
    return recipe


async def _append(
    storage: StorageServiceAsyncStub, batch: batch_pb2.Batch, first_index: int, sources: Sequence[api.ItemSource]
) -> None:
    items = [_new_item(first_index + n, source) for n, source in enumerate(sources)]
    if items:
        await storage.AppendItems(inner.AppendItemsRequest(batch_id=_id_of(batch), items=items))
        strike(Point.INTAKE_APPENDED)


def _new_item(index: int, source: api.ItemSource) -> inner.NewItem:
    if source.skip_reason:
        failure = Failure(FailureCode.SKIPPED_BY_INPUT, source.skip_reason)
    else:
        try:
            return inner.NewItem(index=index, source=source, host=host_of(validate_url(source.uri)))
        except PermanentError as error:
            failure = _located(error.failure, source.source_row)
    return inner.NewItem(index=index, source=source, failure=codec.failure_message(failure))


def _located(failure: Failure, source_row: int) -> Failure:
    if not source_row:
        return failure
    return Failure(failure.code, f"Line {source_row}: {failure.message}", failure.http_status)


async def _finish(
    storage: StorageServiceAsyncStub, batch: batch_pb2.Batch, spec: api.BatchSpec, total: int
) -> batch_pb2.Batch:
    """Seal the batch, unless more is to come."""
    if spec.more_to_come:
        return batch
    response = await storage.SealBatch(inner.SealBatchRequest(batch_id=_id_of(batch), total=total))
    strike(Point.INTAKE_SEALED)
    return response.batch


def _id_of(batch: batch_pb2.Batch) -> str:
    return batch.name.removeprefix("batches/")

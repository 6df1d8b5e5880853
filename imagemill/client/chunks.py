"""A list of any length cut into messages of bounded size."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable

from imagemill.v1.batch_service_pb2 import ItemChunk, ItemSource

MOST_ITEMS = 1000
MOST_BYTES = 256 * 1024
"""Far below gRPC's own limit of 4 MB a message; large enough that the cost of a message does not count."""

Items = Iterable[ItemSource | str] | AsyncIterable[ItemSource | str]


async def chunked(items: Items) -> AsyncIterator[ItemChunk]:
    """Cut `items` into consecutive chunks of at most `MOST_ITEMS` items and about `MOST_BYTES` bytes.

    Holds one chunk at a time. A single larger item travels alone.
    """
    chunk, size = ItemChunk(), 0
    async for item in _each(items):
        source = ItemSource(uri=item) if isinstance(item, str) else item
        length = source.ByteSize()
        if chunk.items and (len(chunk.items) >= MOST_ITEMS or size + length > MOST_BYTES):
            yield chunk
            chunk, size = ItemChunk(first_index=chunk.first_index + len(chunk.items)), 0
        chunk.items.append(source)
        size += length
    if chunk.items:
        yield chunk


async def _each(items: Items) -> AsyncIterator[ItemSource | str]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item

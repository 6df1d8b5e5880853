"""A list of any length cut into messages of bounded size, and those into calls of bounded length."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from contextlib import aclosing

from imagemill.v1.batch_service_pb2 import ItemChunk, ItemSource

MOST_ITEMS = 1000
MOST_BYTES = 256 * 1024
"""Far below gRPC's own limit of 4 MB a message; large enough that the cost of a message does not count."""
MOST_CHUNKS = 16
"""Chunks in one call. They are held in memory until the call has ended well, so that a broken one can be repeated
whatever the list is read from: 4 MB."""

Items = Iterable[ItemSource | str] | AsyncIterable[ItemSource | str]


async def chunked(items: Items) -> AsyncGenerator[ItemChunk, None]:
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


async def in_calls(items: Items) -> AsyncGenerator[tuple[list[ItemChunk], bool], None]:
    """Yield the chunks of each call, and whether more calls follow; an empty list makes one call without chunks."""
    gathered: list[ItemChunk] = []
    async with aclosing(chunked(items)) as chunks:
        async for chunk in chunks:
            if len(gathered) == MOST_CHUNKS:
                yield gathered, True
                gathered = []
            gathered.append(chunk)
    yield gathered, False


async def _each(items: Items) -> AsyncIterator[ItemSource | str]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item

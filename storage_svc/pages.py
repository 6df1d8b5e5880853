"""Pages of items that fit a message, whatever the recipe: an item with sixty variants takes ten kilobytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from imagemill import codec
from imagemill.domain.items import ItemRow
from imagemill.v1 import batch_pb2

LARGEST_PAGE = 2 << 20
"""Bytes of items in one message, but one item at least; a quarter of what a client's channel takes by default."""


def fitting(rows: Sequence[ItemRow], links: Mapping[str, str] = {}) -> list[batch_pb2.Item]:
    """The first of the rows, as many as fit one message; at least one when there is one.

    `links` are the URLs of renders, by key.
    """
    items: list[batch_pb2.Item] = []
    size = 0
    for row in rows:
        item = codec.item_message(row)
        for render in item.renders if links else ():
            render.url = links.get(render.key, "")
        size += item.ByteSize()
        if items and size > LARGEST_PAGE:
            break
        items.append(item)
    return items

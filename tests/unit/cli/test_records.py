"""Items as JSON lines describe them."""

from __future__ import annotations

from imagemill.cli.records import item_record
from imagemill.v1.batch_pb2 import Item, Original, Render


def item(state: Item.State.ValueType) -> Item:
    return Item(
        index=3,
        source="https://example.com/boat.png",
        state=state,
        original=Original(sha256="ab", size_bytes=99),
        renders=[Render(variant="small", key="k", format="jpeg", width=4, height=3, size_bytes=9)],
    )


def test_a_render_tells_where_its_picture_lies_once_the_item_succeeded() -> None:
    record = item_record(item(Item.STATE_SUCCEEDED))

    assert record["renders"] == [
        {
            "variant": "small",
            "path": "000003-boat-small.jpg",
            "format": "jpeg",
            "width": 4,
            "height": 3,
            "size_bytes": 9,
        }
    ]


def test_a_picture_that_does_not_lie_there_yet_has_an_empty_path() -> None:
    record = item_record(item(Item.STATE_PROCESSING))

    assert "'path': ''" in str(record["renders"])


def test_what_is_not_known_of_an_original_is_left_out() -> None:
    record = item_record(item(Item.STATE_PROCESSING))

    assert (record["sha256"], record["bytes"]) == ("ab", 99)
    assert {"format", "width", "height"} & set(record) == set()

"""Controls: what a verdict must not overlook."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from imagemill.adapters.blobs import LocalBlobs
from imagemill.domain.items import State
from imagemill.v1.batch_pb2 import Item
from tests.faults.following import Followed
from tests.faults.judging import Rows, broken_pictures, miscounted, unseen
from tests.faults.pictures_to_fetch import PicturesToFetch
from tests.support import pictures
from tests.support.picture_server import PictureServer


def rows(*states: State, **batch: Any) -> Rows:
    counts = {f"n_{state.name.lower()}": states.count(state) for state in State}
    items = [
        {"idx": n, "state": state.value, "duplicate_of": None, "renders": "[]", "original_key": "", "remarks": ""}
        for n, state in enumerate(states)
    ]
    return Rows({"id": "b", "revision": 9, "duplicates": 0, **counts, **batch}, items)


def heard(*items: Item, revision: int = 9) -> Followed:
    followed = Followed(revision=revision)
    for item in items:
        followed.hear(item)
    return followed


def test_a_counter_that_is_not_that_of_the_rows_is_seen() -> None:
    assert miscounted(rows(State.SUCCEEDED, State.FAILED)) == 0
    assert miscounted(rows(State.SUCCEEDED, State.FAILED, n_succeeded=2)) == 1
    assert miscounted(rows(State.SUCCEEDED, State.FAILED, duplicates=1)) == 1


def test_an_item_that_ends_twice_is_seen() -> None:
    done, failed, again = (
        Item(index=0, state=state) for state in (Item.STATE_SUCCEEDED, Item.STATE_FAILED, Item.STATE_PENDING)
    )

    assert heard(done, done).contradictions == []
    assert len(heard(done, failed).contradictions) == 1
    assert len(heard(done, again).contradictions) == 1


def test_an_end_that_a_follower_was_not_told_of_is_seen() -> None:
    truth = rows(State.SUCCEEDED, State.FAILED)
    both = Item(index=0, state=Item.STATE_SUCCEEDED), Item(index=1, state=Item.STATE_FAILED)

    assert unseen(heard(*both), truth) == 0
    assert unseen(heard(both[0]), truth) == 1
    assert unseen(heard(*both, revision=8), truth) == 1


def test_a_picture_that_is_not_there_or_not_what_its_row_says_is_seen(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    whole = pictures.jpeg(32, 24)
    contents = {"a/b/c/whole": whole, "a/b/c/torn": whole[:300], "a/b/c/other": pictures.jpeg(16, 12)}
    for key, content in contents.items():
        blobs.local_path(key).parent.mkdir(parents=True, exist_ok=True)
        blobs.local_path(key).write_bytes(content)

    def broken(key: str) -> int:
        truth = rows(State.SUCCEEDED)
        row = {**truth.items[0], "renders": json.dumps([["small", key, "jpeg", 32, 24, len(whole)]])}
        return broken_pictures(blobs, Rows(truth.batch, [row]))

    assert [broken(f"a/b/c/{name}") for name in ("whole", "torn", "other", "gone")] == [0, 1, 1, 1]
    blobs.close()


def test_a_request_beyond_an_items_attempts_is_counted() -> None:
    server = PictureServer()
    asked = PicturesToFetch(server, 3, at_once=1)
    server.requests.update({"/0.jpg": 1, "/1.jpg": 3, "/2.jpg": 2})

    assert asked.repeats({0: 1, 1: 1, 2: 2}) == 2

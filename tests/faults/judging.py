"""What must be true of a batch after everything that was done to its mill."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from imagemill.adapters.blobs import LocalBlobs
from imagemill.domain.items import State
from imagemill.v1.batch_pb2 import Item
from tests.faults.following import Followed
from tests.faults.ground import Ground
from tests.faults.pictures_to_fetch import end_of, twin_of
from tests.support.eventually import eventually_blocking

SETTLED_S = 240.0
"""How long after the end of a batch the last file may be deleted that a death has left, in seconds, and a minute."""

MUST_BE_NONE = (
    "lost",
    "wrong_end",
    "double_counted",
    "contradictions",
    "unseen_ends",
    "wrong_twins",
    "missing_blobs",
    "orphan_blobs",
    "broken_pictures",
    "scratch_files",
    "orphan_processes",
    "unexplained_requests",
)
"""The figures of a verdict that are all 0, or something was lost."""


@dataclass(frozen=True)
class Rows:
    """A batch as the database has it."""

    batch: Mapping[str, Any]
    items: Sequence[Mapping[str, Any]]

    @property
    def states(self) -> dict[int, State]:
        """The items' states."""
        return {row["idx"]: State(row["state"]) for row in self.items}

    @property
    def keys(self) -> set[str]:
        """The blobs that rows name."""
        renders = {render[1] for row in self.items for render in json.loads(row["renders"] or "[]")}
        originals = {row["original_key"] for row in self.items if row["original_key"]}
        aside = {json.loads(row["remarks"] or "{}").get("undecodable_key") for row in self.items}
        return renders | originals | {key for key in aside if key}


def read_rows(ground: Ground, batch_id: str) -> Rows:
    """Read a batch and all its items."""
    (batch,) = ground.cluster.rows(f"SELECT * FROM batches WHERE id = '{batch_id}'")
    items = ground.cluster.rows(f"SELECT * FROM items WHERE batch_id = '{batch_id}' ORDER BY idx")
    return Rows(dict(batch), [dict(item) for item in items])


def judge(ground: Ground, batch_id: str, followed: Sequence[Followed], may_be_repeated: int) -> dict[str, Any]:
    """Judge a batch that has ended, and end its mill; every figure of MUST_BE_NONE is 0 of a mill that is right."""
    rows = read_rows(ground, batch_id)
    eventually_blocking(lambda: not _orphans(ground, rows), timeout_s=SETTLED_S, pause_s=0.25)
    ground.cluster.stop()
    states, expected = rows.states, {number: end_of(number) for number in range(ground.pictures.items)}
    repeats = ground.pictures.repeats({row["idx"]: row["attempt"] + 1 for row in rows.items})
    stored = set(ground.blobs.keys(f"batches/{batch_id}/"))
    return {
        "items": len(expected),
        "succeeded": sum(state is State.SUCCEEDED for state in states.values()),
        "failed": sum(state is State.FAILED for state in states.values()),
        "lost": sum(number not in states or not states[number].is_final for number in expected),
        "wrong_end": sum(state is not expected.get(number) for number, state in states.items() if state.is_final),
        "double_counted": miscounted(rows),
        "contradictions": sum(len(each.contradictions) for each in followed),
        "unseen_ends": sum(unseen(each, rows) for each in followed),
        "wrong_twins": sum(row["duplicate_of"] != twin_of(row["idx"]) for row in rows.items),
        "missing_blobs": len(rows.keys - stored),
        "orphan_blobs": len(stored - rows.keys),
        "broken_pictures": broken_pictures(ground.blobs, rows),
        "scratch_files": len(ground.cluster.scratch()),
        "orphan_processes": len(ground.cluster.strays()),
        "requests": ground.server.requests.total(),
        "repeats": repeats,
        "may_be_repeated": may_be_repeated,
        "unexplained_requests": max(repeats - may_be_repeated, 0),
    }


def _orphans(ground: Ground, rows: Rows) -> set[str]:
    return set(ground.blobs.keys(f"batches/{rows.batch['id']}/")) ^ rows.keys


def miscounted(rows: Rows) -> int:
    """By how much the batch's counters differ from its rows."""
    counted = Counter(rows.states.values())
    wrong = sum(abs(rows.batch[f"n_{state.name.lower()}"] - counted[state]) for state in State)
    duplicates = sum(row["duplicate_of"] is not None for row in rows.items)
    return int(wrong + abs(rows.batch["duplicates"] - duplicates))


def unseen(followed: Followed, rows: Rows) -> int:
    """How many ends a follower was not told of, or told wrongly; and whether it stopped before the last revision."""
    unseen = sum(followed.finals.get(number) != _told(state) for number, state in rows.states.items())
    return unseen + int(followed.revision != rows.batch["revision"])


def _told(state: State) -> int:
    return Item.State.Value(f"STATE_{state.name}")


def broken_pictures(blobs: LocalBlobs, rows: Rows) -> int:
    """Open every picture that a row names."""
    broken = 0
    renders = {tuple(render) for row in rows.items for render in json.loads(row["renders"] or "[]")}
    for _, key, form, width, height, size_bytes in renders:
        path = blobs.local_path(key)
        try:
            content = path.read_bytes()
            with Image.open(io.BytesIO(content)) as image:
                image.load()
                right = (image.format or "").lower() == form and image.size == (width, height)
        except OSError:
            right = False
        broken += not (right and len(content) == size_bytes)
    return broken

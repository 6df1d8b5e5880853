"""A list that keeps a mill of several processes busy for a while, and what must be true of it in the end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from imagemill.domain.batches import BatchState
from imagemill.domain.items import State
from tests.support import pictures
from tests.support.picture_server import Reply, html, picture, slow, status
from tests.support.processes import Ended, Program
from tests.support.services_house import ServicesHouse

BASE = pictures.jpeg(160, 120)
LONGEST_S = 90.0


@dataclass
class Load:
    """A batch at work."""

    house: ServicesHouse
    items: int
    following: Program
    strikes: list[int] = field(default_factory=list)
    """How many items were in flight each time something was struck."""

    def until_final(self, share: float) -> None:
        """Wait until so much of the batch is done with."""
        self.following.wait_until(lambda: len(self.house.truth().final) >= share * self.items, LONGEST_S)

    def note_strike(self) -> None:
        """Remember what may be asked for once more, because something is about to be struck."""
        self.strikes.append(len(self.house.truth().in_flight))

    def ended(self) -> Ended:
        """Wait for the end of the batch, as its follower sees it."""
        ended = self.following.ended(LONGEST_S)
        self.house.note(ended)
        return ended


def begin(house: ServicesHouse, items: int, *, pause_s: float = 0.1) -> Load:
    """Hand in a list of slow pictures, twins and trouble, and follow it."""
    house.write_list(house.server.route(f"/{number}.jpg", *script(number, pause_s)) for number in range(items))
    house.open()
    following = house.submit("--watch")
    return Load(house, items, following)


def script(number: int, pause_s: float) -> tuple[Reply, ...]:
    """Say how the server answers for an item."""
    own = pictures.numbered(BASE, number)
    trouble: dict[int, tuple[Reply, ...]] = {
        3: (status(404),),
        17: (html(), picture(own)),
        29: (picture(pictures.numbered(BASE, number - 10)),),  # the bytes of an earlier line
    }
    return trouble.get(number % 50, (slow(own, len(BASE) / pause_s),))


def expect_every_item_ended_once(load: Load) -> None:
    """Expect each item to be final, counted once, asked for no more often than need be, and nothing left behind."""
    house, ended = load.house, load.ended()
    missing = sum(number % 50 == 3 for number in range(load.items))
    assert ended.code == 1, ended.said
    truth = house.truth()
    assert truth.batch is BatchState.COMPLETED
    assert truth.counts == truth.counted
    assert truth.final == set(range(load.items))
    assert Counter(truth.states.values()) == {State.SUCCEEDED: load.items - missing, State.FAILED: missing}
    twice = sum(number % 50 == 17 for number in range(load.items))
    assert house.requests().total() <= load.items + twice + sum(load.strikes), house.log()
    assert house.leftovers() == [], house.log()

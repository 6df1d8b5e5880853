"""Killed again and again at moments that nobody chose, a list ends as if nothing had happened."""

from __future__ import annotations

import random
import signal
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from imagemill.domain.batches import BatchState
from tests.support import pictures
from tests.support.eventually import eventually_blocking
from tests.support.house import House, Truth
from tests.support.picture_server import Reply, cut, html, picture, slow, status

ITEMS = 400
KILLS = 5
BASE = pictures.jpeg(160, 120)
RETRIES = ("--retries", "1")


def script(number: int) -> tuple[Reply, ...]:
    """Say how the server answers for an item: most are slow and good, some are trouble."""
    own = pictures.numbered(BASE, number)
    trouble: dict[int, tuple[Reply, ...]] = {
        3: (status(404),),
        17: (html(), picture(own)),
        29: (cut(own, 200), picture(own)),
        41: (picture(b""),),
        53: (picture(pictures.numbered(BASE, number - 10)),),  # the bytes of an earlier line
    }
    # Between 50 and 100 ms, so that kills find downloads on their way.
    return trouble.get(number % 60, (slow(own, len(BASE) * (10 + number % 11)),))


def serve_the_list(house: House) -> list[str]:
    return [house.server.route(f"/{number}.jpg", *script(number)) for number in range(ITEMS)]


@dataclass(frozen=True, slots=True)
class Strike:
    """What was true at the moment of a kill."""

    truth: Truth
    requests: Counter[str]


def struck(house: House, chance: random.Random) -> Strike:
    """Start the mill and kill it after a random number of requests: the first process, or all at once."""
    running = house.start(*RETRIES)
    asked = house.requests().total() + chance.randint(20, ITEMS // KILLS)
    running.wait_until(lambda: house.requests().total() >= asked)
    family = running.children()
    (running.send if chance.random() < 0.5 else running.send_group)(signal.SIGKILL)

    ended = running.ended(5.0)

    assert ended.code == -signal.SIGKILL, ended.said
    assert family, "no rendering process was there to be orphaned"
    eventually_blocking(lambda: not running.family(), timeout_s=1.0)
    return Strike(house.truth(), house.requests())


@pytest.mark.parametrize("seed", [1])
def test_five_random_kills_change_nothing_but_attempts_and_timings(house: House, tmp_path: Path, seed: int) -> None:
    # given what an undisturbed run makes of the list
    house.write_list(serve_the_list(house))
    undisturbed = tmp_path / "undisturbed"
    assert house.run(*RETRIES, out=undisturbed).code == 1
    needed = house.requests()
    serve_the_list(house)
    house.server.requests.clear()

    # when the same list is killed five times on its way
    chance = random.Random(seed)
    strikes = [struck(house, chance) for _ in range(KILLS)]
    ended = house.run(*RETRIES)

    # expect the same manifest, every item once, and nothing left behind
    assert ended.code == 1, ended.said
    assert house.lasting() == house.lasting(undisturbed)
    truth = house.truth()
    assert truth.batch is BatchState.COMPLETED
    assert truth.counts == truth.counted
    assert truth.final == set(range(ITEMS))
    assert house.leftovers() == []
    expect_no_needless_request(house, strikes, needed)


def expect_no_needless_request(house: House, strikes: list[Strike], needed: Counter[str]) -> None:
    """Expect nothing final to be asked for again, and no more to be repeated than was in flight."""
    assert any(strike.truth.final for strike in strikes)
    after = [*(strike.requests for strike in strikes[1:]), house.requests()]
    for strike, later in zip(strikes, after, strict=True):
        asked_again = {
            index for index in strike.truth.final if later[f"/{index}.jpg"] > strike.requests[f"/{index}.jpg"]
        }
        assert asked_again == set()
    repeated = (house.requests() - needed).total()
    assert repeated <= sum(len(strike.truth.in_flight) for strike in strikes)

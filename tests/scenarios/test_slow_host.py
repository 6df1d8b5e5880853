"""A host that is slow keeps nobody waiting whose lines stand behind its own in the same list."""

from __future__ import annotations

from tests.support import pictures
from tests.support.eventually import eventually_blocking
from tests.support.house import House
from tests.support.picture_server import picture, slow
from tests.support.services_house import ServicesHouse

PICTURE = pictures.jpeg(64, 48)
SLOW = 3_000
"""Many more than are in flight at once, and than one claim looks at."""
SLOW_S = 4.0
QUICK = 300
PATIENCE_S = 60.0


def begin(house: House) -> None:
    if isinstance(house, ServicesHouse):
        house.cluster.tell({"DOWNLOADS": "50"})
        house.open()
        house.submit()
    else:
        house.start()


def test_what_stands_behind_a_slow_host_is_done_before_it(any_house: House) -> None:
    # Another name for this machine is another host. All that it has would take ten minutes at least.
    server = any_house.server
    reply = slow(PICTURE, len(PICTURE) / SLOW_S)
    server.fallback = lambda path: reply if path.startswith("/slow/") else picture(pictures.numbered(PICTURE, 1))
    slow_ones = [server.url(f"/slow/{n}", host="localhost") for n in range(SLOW)]
    any_house.write_list([*slow_ones, *(server.url(f"/quick/{n}") for n in range(QUICK))])

    begin(any_house)
    quick = set(range(SLOW, SLOW + QUICK))
    eventually_blocking(lambda: quick <= any_house.truth().final, timeout_s=PATIENCE_S)

    truth = any_house.truth()
    assert truth.counts == truth.counted
    assert len(truth.final - quick) < SLOW / 10

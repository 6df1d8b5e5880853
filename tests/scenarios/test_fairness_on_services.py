"""Who is small, or more urgent, is not kept waiting by who is large, and a slow host keeps nobody else's pictures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from imagemill.domain.batches import BatchState
from imagemill.domain.items import State
from tests.support import pictures
from tests.support.cluster import IMAGEMILL
from tests.support.eventually import eventually_blocking
from tests.support.picture_server import Reply, picture, slow
from tests.support.processes import Program
from tests.support.services_house import ServicesHouse

PROMISE_S = 10.0
"""What a small batch may take while a large one renders."""
PICTURE = pictures.jpeg(640, 480)
"""Small enough that five thousand take minutes on two processors which others use as well, and not hours."""
SMALL = pictures.jpeg(64, 48)
SLOW_S = 2.0


def answer(path: str) -> Reply:
    return picture(pictures.numbered(PICTURE, int(path.rpartition("/")[2])))


class Rivals:
    """Batches of one mill, handed in by the command one after another."""

    def __init__(self, house: ServicesHouse) -> None:
        self.house = house
        self._lists = 0

    def hand_in(self, batch_id: str, urls: Iterator[str], *options: str) -> Program:
        self._lists += 1
        path = self.house.folder / f"list-{self._lists}.txt"
        path.write_text("".join(f"{url}\n" for url in urls))
        return self.house.submit("--batch-id", batch_id, "--watch", *options, sources=[str(path)])

    def _count(self, batch_id: str, *states: State) -> int:
        names = ", ".join(str(state.value) for state in states)
        query = f"SELECT count(*) AS n FROM items WHERE batch_id = '{batch_id}' AND state IN ({names})"
        return int(self.house.cluster.rows(query)[0]["n"])

    def done(self, batch_id: str) -> int:
        return self._count(batch_id, State.SUCCEEDED)

    def in_flight(self, batch_id: str) -> int:
        return self._count(batch_id, *(state for state in State if state.is_in_flight))

    def cancel(self, batch_id: str) -> None:
        """Give the rest of a batch up, and see it end."""
        command = [IMAGEMILL, "cancel", batch_id, "--to", self.house.cluster.target]
        program = Program(command, self.house.folder)
        self.house.programs.append(program)
        assert program.ended().code == 0, program.err
        query = f"SELECT state FROM batches WHERE id = '{batch_id}'"
        eventually_blocking(lambda: self.house.cluster.rows(query)[0]["state"] == BatchState.CANCELLED, timeout_s=20.0)


@pytest.fixture
def rivals(services: ServicesHouse) -> Rivals:
    services.open()
    services.server.fallback = answer
    return Rivals(services)


def test_ten_pictures_are_done_within_ten_seconds_while_five_thousand_render_six_outputs_each(rivals: Rivals) -> None:
    server = rivals.house.server
    huge = rivals.hand_in("huge", (server.url(f"/huge/{n}") for n in range(5_000)), "--recipe", "standard")
    huge.wait_until(lambda: rivals.done("huge") >= 40, 60.0)

    small = rivals.hand_in("small", (server.url(f"/small/{n}") for n in range(10)), "--recipe", "standard")
    ended = small.ended()

    assert ended.code == 0, ended.said
    assert ended.took_s <= PROMISE_S
    assert rivals.done("huge") < 4_000
    assert "in the mill's blob store (IMAGEMILL_BLOB_URL), under batches/small/renders" in ended.out
    rivals.cancel("huge")


def test_a_more_urgent_batch_that_comes_later_overtakes(rivals: Rivals) -> None:
    # What was on the conveyor before it comes out before it, and where it has nothing left to claim others follow: so
    # the window is kept small and the batch long, and both ends are left out.
    server = rivals.house.server
    rivals.house.cluster.stop("gateway-1")
    rivals.house.cluster.tell({"LARGEST_WINDOW": "256"})
    rivals.house.open()
    early = rivals.hand_in("early", (server.url(f"/early/{n}") for n in range(5_000)), "--priority", "1")
    early.wait_until(lambda: rivals.done("early") >= 40, 60.0)

    urgent = rivals.hand_in("urgent", (server.url(f"/urgent/{n}") for n in range(1_500)), "--priority", "100")
    urgent.wait_until(lambda: rivals.done("urgent") >= 200, 60.0)
    before = rivals.done("urgent"), rivals.done("early")
    urgent.wait_until(lambda: rivals.done("urgent") >= 1_000, 120.0)
    urgent_did, early_did = rivals.done("urgent") - before[0], rivals.done("early") - before[1]

    # No batch takes the last quarter of the window while another wants it: about three to one; equals share alike.
    assert early_did < urgent_did * 2 / 3
    assert urgent.ended().code == 0
    rivals.cancel("early")


def test_a_slow_host_keeps_nobody_else_waiting(rivals: Rivals) -> None:
    # Another name for this machine is another host. Of its pictures there are more than all that may be in flight.
    server = rivals.house.server
    server.fallback = lambda path: slow(SMALL, len(SMALL) / SLOW_S) if path.startswith("/slow/") else answer(path)
    rivals.house.cluster.stop("downloader-1")
    rivals.house.cluster.tell({"PER_HOST": "2"})
    rivals.house.open()
    slow_ones = (server.url(f"/slow/{n}", host="localhost") for n in range(1_000))
    crawling = rivals.hand_in("crawling", slow_ones)
    crawling.wait_until(lambda: rivals.in_flight("crawling") >= 250, 30.0)

    quick = rivals.hand_in("quick", (server.url(f"/quick/{n}") for n in range(100)))
    ended = quick.ended()

    assert ended.code == 0, ended.said
    assert server.open_most <= 16
    # All that was in flight before it, one after another by two at a time, would have taken minutes.
    assert rivals.done("crawling") < 100
    rivals.cancel("crawling")

"""A mill dies between every two steps of its work, one after another, and the batch still ends as it must."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from imagemill import strikes
from imagemill.domain.batches import BatchState
from imagemill.ports.broker import Queue
from imagemill.v1 import messages_pb2
from tests.faults.courses import EMBEDDED, SERVICES, Strike
from tests.faults.following import Clients
from tests.faults.ground import Ground, open_ground
from tests.faults.judging import MUST_BE_NONE, judge
from tests.faults.messages import publish
from tests.faults.pictures_to_fetch import PicturesToFetch, end_of
from tests.support.eventually import eventually_blocking
from tests.support.house import House, open_house
from tests.support.processes import Program

ITEMS = 500
DEATH_S = 4.0
"""How long work must last for one more death, in seconds, about: a start, and what comes before the point."""
LONGEST_S = 180.0


class Course:
    """Leads the one process of a service through its deaths."""

    def __init__(self, ground: Ground, service: str) -> None:
        self._ground = ground
        self._member = f"{service}-1"
        self.left = list(SERVICES[service])
        self.repeated = 0
        """How many items may have been asked for again."""

    def begin(self) -> None:
        """Have the process die at the first point of the course."""
        self._ground.cluster.start(self._member, strike=self.left[0].told)

    def run(self) -> None:
        """Wait for each death and start the process again, to die at the next point; the last one lives."""
        while self.left:
            died_at(self.left[0], self._ground.cluster.programs[self._member])
            self._ground.cluster.bury(self._member)
            self.repeated += self._ground.progress.in_flight
            del self.left[0]
            self._ground.cluster.start(self._member, strike=self.left[0].told if self.left else "")


def died_at(strike: Strike, program: Program) -> None:
    ended = program.ended(LONGEST_S)
    assert ended.code == -signal.SIGKILL, f"{strike.told}: {ended.said}"
    assert ended.err.endswith(strikes.mark(strike.point)), f"{strike.told}: {ended.said}"


@pytest.mark.timeout(600)
def test_each_service_dies_at_every_point_of_its_way(tmp_path_factory: pytest.TempPathFactory) -> None:
    with open_ground(tmp_path_factory.mktemp("ground"), ITEMS, replicas=1, lease_s=5) as ground:
        with Clients([ground.cluster.target], ground.pictures.urls[:3]) as before:
            before.until_ended(LONGEST_S)
        courses = [Course(ground, service) for service in SERVICES]
        ground.pictures.seconds_left = lambda: max(len(course.left) for course in courses) * DEATH_S
        ground.cluster.stop()
        for course in courses:
            course.begin()

        with (
            Clients([ground.cluster.target], ground.pictures.urls) as clients,
            ThreadPoolExecutor(len(courses) + 1) as threads,
        ):
            running = [threads.submit(course.run) for course in courses]
            batch_id = clients.until_taken(LONGEST_S)
            bury_letters(ground, batch_id)
            for each in running:
                each.result()
            clients.until_ended(LONGEST_S)

        verdict = judge(ground, batch_id, clients.followed, sum(course.repeated for course in courses))
    assert {name: verdict[name] for name in MUST_BE_NONE if verdict[name]} == {}
    assert verdict["items"] == ITEMS


def bury_letters(ground: Ground, batch_id: str) -> None:
    """Have jobs among the dead letters, for a storage service to die of."""
    job = messages_pb2.DownloadJob(index=3, source=ground.pictures.urls[3], claim=1)
    letter = messages_pb2.DownloadJobs(batch_id=batch_id, jobs=[job]).SerializeToString()
    publish(ground.rabbit.url, f"{Queue.DOWNLOAD}.dead", [letter] * 3)


@pytest.mark.timeout(600)
def test_the_embedded_mill_dies_at_every_point_of_its_way(tmp_path: Path) -> None:
    halves = [EMBEDDED[::2], EMBEDDED[1::2]]
    with ThreadPoolExecutor(len(halves)) as threads:
        for course in threads.map(partial(embedded_course, tmp_path), range(len(halves)), halves):
            assert course is None


def embedded_course(folder: Path, number: int, strikes_to_come: Sequence[Strike]) -> None:
    """Run one list again and again, each time to another death, and at last to its end."""
    own = folder / str(number)
    own.mkdir()
    with open_house(own) as house:
        pictures = PicturesToFetch(house.server, 120, at_once=8)
        house.write_list(pictures.urls)
        left = list(strikes_to_come)
        pictures.seconds_left = lambda: len(left) * 0.5
        options = ("--keep-originals", "--keep-undecodable", "--children", "1", "--retries", "8")
        for strike in strikes_to_come:
            dying = house.start(*options, environment={strikes.VARIABLE: strike.told})
            died_at(strike, dying)
            nothing_is_left_of(dying)
            left.pop()
        ended = house.run(*options)
        expect_all_ended(house, pictures, ended.said)


def nothing_is_left_of(program: Program) -> None:
    eventually_blocking(lambda: not program.family(), timeout_s=5.0)


def expect_all_ended(house: House, pictures: PicturesToFetch, said: str) -> None:
    truth = house.truth()
    assert truth.batch is BatchState.COMPLETED, said
    assert dict(truth.states) == {number: end_of(number) for number in range(pictures.items)}, said
    assert truth.counts == truth.counted
    rows = house.manifest()
    assert [int(row["index"]) for row in rows] == list(range(pictures.items))
    assert all((house.out / row["fit-256"]).is_file() for row in rows if row["state"] == "SUCCEEDED")
    assert house.leftovers() == []

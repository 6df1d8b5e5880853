"""Does to a mill what a plan says: a lane for each kind of part, side by side, so that deaths overlap."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import partial

from tests.faults.ground import Ground
from tests.faults.journal import Journal
from tests.faults.messages import trouble_messages
from tests.faults.plan import Plan, strike_for
from tests.support.cluster import SERVICES
from tests.support.processes import Program

START_S = 60.0
FROZEN_S, DOWN_S, FULL_S = 35.0, 20.0, 4.0
POLL_S = 0.05


class Stopped(Exception):
    """Another lane has failed."""


class Striker:
    """Strikes by its own process ids alone, and has each death confirmed by the status of the dead."""

    def __init__(self, ground: Ground, plan: Plan, journal: Journal) -> None:
        self.kills: Counter[str] = Counter()
        self.in_flight_at_kills = 0
        """How many items were in flight at the deaths and faults, added up: so many may have been asked for again."""
        self._ground = ground
        self._plan = plan
        self._journal = journal
        self._failed = threading.Event()
        self._armed: set[str] = set()
        """Services that will strike themselves."""
        self._left: dict[str, float] = {}
        """For how long each lane still has something to do, in seconds, about."""
        ground.pictures.seconds_left = lambda: max(self._left.values(), default=0.0)

    def strike_all(self) -> None:
        """Do everything that the plan says."""
        lanes: dict[str, Callable[[], None]] = {
            **{service: partial(self._strike_service, service) for service in SERVICES},
            "rabbitmq": partial(self._in_turn, "rabbitmq", self._plan.of_broker, self._trouble_broker),
            "postgresql": partial(self._in_turn, "postgresql", self._plan.of_database, self._trouble_database),
            "messages": partial(self._in_turn, "messages", self._plan.of_messages, self._trouble_messages),
            "disk": partial(self._in_turn, "disk", self._plan.of_disk, self._fill_disk),
        }
        self._left = dict.fromkeys(lanes, self._plan.seconds)
        with ThreadPoolExecutor(len(lanes)) as threads:
            running = [threads.submit(self._lane, name, lane) for name, lane in lanes.items()]
            done, _ = wait(running, return_when=FIRST_EXCEPTION)
            if any(lane.exception() for lane in done):
                self._failed.set()
        errors = [error for lane in running if (error := lane.exception()) and not isinstance(error, Stopped)]
        if errors:
            raise ExceptionGroup("lanes of the run failed", [e for e in errors if isinstance(e, Exception)])

    def _lane(self, name: str, work: Callable[[], None]) -> None:
        try:
            work()
        finally:
            self._left[name] = 0.0

    def _strike_service(self, service: str) -> None:
        chance = self._plan.chance(service)
        wished = self._plan.each_service
        pace_s = self._plan.seconds / max(wished, 1)
        members = [member for member in self._ground.cluster.members if member.startswith(service)]
        while self.kills[service] < wished:
            self._left[service] = (wished - self.kills[service]) * pace_s
            struck = self._own_death(members, time.monotonic() + pace_s * chance.uniform(0.5, 1.5))
            member = chance.choice(members)
            strike = strike_for(service, chance)
            if struck is None:
                self._until_answering(member)
            self._replace(service, struck or member, strike)
        for member in [each for each in members if each in self._armed]:
            self._replace(service, member, strike="")

    def _replace(self, service: str, member: str, strike: str) -> None:
        """Kill a service, unless it has died by itself, and start it again."""
        cluster = self._ground.cluster
        self._note(service, cluster.kill(member) if cluster.programs[member].running else cluster.bury(member), member)
        cluster.start(member, strike=strike)
        (self._armed.add if strike else self._armed.discard)(member)

    def _own_death(self, members: Sequence[str], until: float) -> str | None:
        """Wait; the member that has struck itself meanwhile."""
        while time.monotonic() < until:
            for member in members:
                if not self._ground.cluster.programs[member].running:
                    return member
            self._pause(POLL_S)
        return None

    def _until_answering(self, member: str) -> None:
        """Wait until a service has started: one that has done nothing yet proves nothing."""
        program = self._ground.cluster.programs[member]
        deadline = time.monotonic() + START_S
        while program.running and self._ground.cluster.serves(member) is None:
            assert time.monotonic() < deadline, f"{member} does not answer\n{program.err}"
            self._pause(POLL_S)

    def _note(self, service: str, program: Program, member: str) -> None:
        point = program.err.rpartition("struck at ")[2].strip() if "struck at " in program.err else None
        self._note_death(service, program.pid, member=member, point=point)

    def _note_death(self, target: str, pid: int, **more: object) -> None:
        # Whoever killed it has waited for it and seen the signal in its status.
        progress = self._ground.progress
        self._journal.write(
            "kill",
            seed=self._plan.seed,
            target=target,
            **more,
            pid=pid,
            wait_status=signal.SIGKILL.name,
            final=progress.final,
            in_flight=progress.in_flight,
        )
        self.kills[target] += 1
        self.in_flight_at_kills += progress.in_flight

    def _in_turn(self, lane: str, events: Sequence[str], do: Callable[[str, random.Random], None]) -> None:
        """Let events happen, spread over the run."""
        chance = self._plan.chance(f"{lane} in turn")
        pace_s = self._plan.seconds / max(len(events), 1)
        began = time.monotonic()
        for number, event in enumerate(events):
            self._left[lane] = (len(events) - number) * pace_s
            self._until(began + pace_s * (number + chance.uniform(0.1, 0.6)))
            do(event, chance)

    def _trouble_broker(self, event: str, chance: random.Random) -> None:
        rabbit = self._ground.rabbit
        if event.startswith("frozen"):
            self._note_fault("RabbitMQ", event)
            rabbit.freeze()
            try:
                self._pause(FROZEN_S)
            finally:
                rabbit.thaw()
            return
        self._note_death("rabbitmq", rabbit.kill())
        if event == "wiped":
            self._note_fault("RabbitMQ", event)
            rabbit.wipe()
        rabbit.start()

    def _trouble_database(self, event: str, chance: random.Random) -> None:
        self._note_death("postgresql", self._ground.postgres.kill())
        if event.startswith("down"):
            self._note_fault("PostgreSQL", event)
            self._pause(DOWN_S)
        self._ground.postgres.start()

    def _trouble_messages(self, event: str, chance: random.Random) -> None:
        deadline = time.monotonic() + START_S
        # A broker that is away, or has nothing to do at this moment, will soon.
        while not (number := trouble_messages(self._ground.rabbit.url, event, chance)):
            if time.monotonic() > deadline:
                break
            self._pause(POLL_S * 10)
        self._note_fault("messages", event, messages=number)

    def _fill_disk(self, event: str, chance: random.Random) -> None:
        with self._ground.full_disk() as how:
            self._note_fault("blob store", event, how=how)
            self._pause(FULL_S)

    def _note_fault(self, target: str, what: str, **more: object) -> None:
        self.in_flight_at_kills += self._ground.progress.in_flight
        self._journal.write("fault", seed=self._plan.seed, target=target, what=what, **more)

    def _until(self, moment: float) -> None:
        self._pause(max(moment - time.monotonic(), 0.0))

    def _pause(self, seconds: float) -> None:
        if self._failed.wait(seconds):
            raise Stopped

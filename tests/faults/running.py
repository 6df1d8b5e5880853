"""One run: a mill is set up, given a list, struck as planned, and judged."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from tests.faults.following import Clients
from tests.faults.ground import LEASE_S, open_ground
from tests.faults.journal import Journal
from tests.faults.judging import MUST_BE_NONE, judge
from tests.faults.plan import Plan
from tests.faults.striking import Striker

TAKEN_S = 120.0
RECOVERED_S = 60.0
"""How long the mill may take to serve again after the last fault, in seconds."""
END_S = 300.0
"""How long what is left may take once nothing dies any more, in seconds."""


def run(plan: Plan, folder: Path, record: Path) -> dict[str, Any]:
    """Carry a plan out in an empty folder and write its record; returns the verdict."""
    with open_ground(folder, plan.items) as ground:
        journal = Journal(
            record, seed=plan.seed, items=plan.items, seconds=plan.seconds, replicas=2, lease_s=LEASE_S,
            rabbitmq=ground.rabbit.control("version").strip(),
            postgresql=ground.postgres.run_sql("SHOW server_version"),
        )  # fmt: skip
        try:
            striker = Striker(ground, plan, journal)
            doors = [ground.cluster.target_of(f"gateway-{n}") for n in (1, 2)]
            with Clients(doors, ground.pictures.urls) as clients:
                batch_id = clients.until_taken(TAKEN_S)
                striker.strike_all()
                ground.look()
                left = plan.items - ground.progress.final
                ground.cluster.until_serving(timeout_s=RECOVERED_S)
                clients.until_ended(END_S)
            verdict = judge(ground, batch_id, clients.followed, striker.in_flight_at_kills)
            verdict |= {"left_at_last_fault": left, "kills": dict(Counter(striker.kills))}
            verdict["clean"] = left > 0 and not any(verdict[name] for name in MUST_BE_NONE)
            journal.write("verdict", **verdict)
        finally:
            journal.close()
    return verdict

"""`python -m tests.faults --items 10000 --seeds 1 2 3`: the runs that docs/reference/guarantees.md is computed from."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.faults.journal import RESULTS
from tests.faults.judging import MUST_BE_NONE
from tests.faults.plan import Plan
from tests.faults.running import run

EACH_SERVICE, BROKER, DATABASE = 43, 21, 11
"""Deaths in a run, a few more than are promised."""


def main() -> int:
    """Run a seed after the other; 1 when one of them was not clean."""
    told = _told()
    # It tells of every try to reach a broker that is dead, which is the point of it all.
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)
    verdicts = []
    for seed in told.seeds:
        plan = Plan(
            seed, told.items, told.minutes * 60, _share(EACH_SERVICE, told), _share(BROKER, told),
            _share(DATABASE, told), others=True,
        )  # fmt: skip
        record = told.results / f"seed-{seed}-items-{told.items}.jsonl"
        # Not below a folder of one user: PostgreSQL runs as another one.
        with tempfile.TemporaryDirectory(prefix="imagemill-faults-") as folder:
            verdict = run(plan, Path(folder), record)
        verdicts.append(verdict)
        sys.stdout.write(f"seed {seed}: {_sentence(verdict)}\n  {record}\n")
        sys.stdout.flush()
    return 0 if all(verdict["clean"] for verdict in verdicts) else 1


def _share(kills: int, told: _Told) -> int:
    return max(1, round(kills * told.kills))


def _sentence(verdict: dict[str, Any]) -> str:
    kills = ", ".join(f"{number} {target}" for target, number in sorted(verdict["kills"].items()))
    wrong = {name: verdict[name] for name in MUST_BE_NONE if verdict[name]}
    if not verdict["left_at_last_fault"]:
        wrong["nothing was left to do at the last fault"] = True
    found = ", ".join(f"{name} {number}" for name, number in wrong.items()) or "nothing lost, nothing counted twice"
    return f"{verdict['items']} items, killed {kills}; {found}; {verdict['repeats']} requests repeated"


class _Told(argparse.Namespace):
    items: int
    seeds: list[int]
    minutes: float
    kills: float
    results: Path


def _told() -> _Told:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--minutes", type=float, default=8.0, help="how long things die")
    parser.add_argument("--kills", type=float, default=1.0, help="a share of the deaths of a whole run")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the records go")
    return parser.parse_args(namespace=_Told())


if __name__ == "__main__":
    sys.exit(main())

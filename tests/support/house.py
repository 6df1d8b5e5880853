"""The house in which scenarios happen: a mill that can be given work, watched, killed and started again.

Scenarios speak this vocabulary and know nothing of what stands behind it: here the real command in processes of its
own, with the embedded mill. Beside it a picture server and an output folder; results are read from what a user gets,
and the truth from the mill's database.
"""

from __future__ import annotations

import csv
import json
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from imagemill.domain.batches import BatchState
from imagemill.domain.items import State
from tests.support.picture_server import PictureServer, serve_in_thread
from tests.support.processes import Ended, Program

COMMAND = (str(Path(sys.executable).with_name("imagemill")),)
CHANGING = ("attempts", "tries", "download_ms", "decode_ms", "resize_ms", "encode_ms", "store_ms")
"""Columns of the manifest that may differ between two runs of the same list."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What the database holds of the one batch in it; empty before there is one."""

    batch: BatchState | None
    counts: Mapping[State, int]
    """As the batch's own counters say."""
    states: Mapping[int, State]
    """As the rows say, by index."""

    @property
    def final(self) -> set[int]:
        """The items that are done with."""
        return {index for index, state in self.states.items() if state.is_final}

    @property
    def in_flight(self) -> set[int]:
        """The items that may have been asked for without having become final."""
        return {index for index, state in self.states.items() if state.is_in_flight}

    @property
    def counted(self) -> Mapping[State, int]:
        """The counters as they must be by the rows."""
        return {state: 0 for state in State} | Counter(self.states.values())


class House:
    """One mill with its list, its output folder and the world that it fetches from."""

    def __init__(self, folder: Path, server: PictureServer) -> None:
        self.server = server
        self.folder = folder
        self.out = folder / "out"
        self.list = folder / "urls.txt"
        self.programs: list[Program] = []

    def write_list(self, lines: Iterable[str]) -> None:
        """Write the list that `start` hands in."""
        self.list.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def start(
        self,
        *options: str,
        sources: Sequence[str] | None = None,
        out: Path | None = None,
        stdin: bytes = b"",
        allow: str = "127.0.0.0/8",
        command: Sequence[str] = COMMAND,
        environment: Mapping[str, str] | None = None,
    ) -> Program:
        """Start the mill on the list; it makes small pictures unless a recipe is among the options."""
        given = list(sources) if sources is not None else [str(self.list)]
        fixed = ["--out", str(out or self.out), "--allow-net", allow]
        recipe = [] if "--recipe" in options else ["--recipe", "dataset-256"]
        words = [*command, "run", *given, *fixed, *recipe, *options]
        program = Program(words, self.folder, stdin=stdin, environment=environment)
        self.programs.append(program)
        return program

    def run(self, *options: str, sources: Sequence[str] | None = None, out: Path | None = None) -> Ended:
        """Run the mill on the list to its end."""
        return self.start(*options, sources=sources, out=out).ended()

    def manifest(self, out: Path | None = None) -> list[dict[str, str]]:
        """The rows of the manifest."""
        with ((out or self.out) / "manifest.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def lasting(self, out: Path | None = None) -> list[dict[str, str]]:
        """The manifest without what may differ between two runs."""
        rows = self.manifest(out)
        return [{name: cell for name, cell in row.items() if name not in CHANGING} for row in rows]

    def report(self) -> dict[str, object]:
        """The report."""
        report: dict[str, object] = json.loads((self.out / "report.json").read_text(encoding="utf-8"))
        return report

    def log(self) -> str:
        """The mill's log."""
        path = self.out / ".imagemill" / "mill.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def truth(self) -> Truth:
        """Look into the database, at any time and without touching what a kill left of it."""
        path = self.out / ".imagemill" / "mill.db"
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10.0)) as database:
                return _read(database)
        except sqlite3.OperationalError:
            # There is no file yet, or no table in it.
            return Truth(None, {}, {})

    def leftovers(self) -> list[str]:
        """Temporary files, and processes of any mill that was started here."""
        state = self.out / ".imagemill"
        files = [path for name in ("scratch", "slots") for path in (state / name).rglob("*") if path.is_file()]
        files += [*state.glob("*.tmp"), *state.glob("*.sock")]
        processes = [process for program in self.programs for process in program.family()]
        return [str(path.relative_to(self.out)) for path in files] + [str(process) for process in processes]

    def requests(self) -> Counter[str]:
        """What the server has been asked for until now, by path."""
        return Counter(self.server.requests)


def _read(database: sqlite3.Connection) -> Truth:
    database.execute("BEGIN")  # both reads see the same moment
    database.row_factory = sqlite3.Row
    batches = database.execute("SELECT * FROM batches").fetchall()
    if not batches:
        return Truth(None, {}, {})
    (batch,) = batches
    counts = {state: batch[f"n_{state.name.lower()}"] for state in State}
    rows = database.execute("SELECT idx, state FROM items")
    return Truth(BatchState(batch["state"]), counts, {row["idx"]: State(row["state"]) for row in rows})


@contextmanager
def open_house(folder: Path) -> Iterator[House]:
    """Build a house in an empty folder; nothing of it runs on afterwards."""
    with serve_in_thread() as server:
        house = House(folder, server)
        try:
            yield house
        finally:
            for program in house.programs:
                program.destroy()

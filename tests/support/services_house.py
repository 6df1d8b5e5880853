"""The same house with another mill in it: four services in processes of their own, on RabbitMQ and PostgreSQL."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from imagemill.adapters.blobs import LocalBlobs
from imagemill.cli.batch_folder import BatchFolder
from imagemill.client import MillClient
from imagemill.domain.batches import BatchState
from imagemill.domain.items import State
from imagemill.settings.declaring import settings_of
from imagemill.settings.groups import Downloading, Retrying
from tests.support.cluster import IMAGEMILL, Cluster, open_cluster
from tests.support.eventually import eventually_blocking
from tests.support.house import House, Truth
from tests.support.picture_server import PictureServer, serve_in_thread
from tests.support.postgres_node import run_apart
from tests.support.processes import Ended, Program

LONGEST_S = 90.0


class ServicesHouse(House):
    """A house whose mill stands all the time; a run is a list that is handed in and followed to its end."""

    def __init__(self, folder: Path, server: PictureServer, cluster: Cluster) -> None:
        super().__init__(folder, server)
        self.cluster = cluster
        self.batch = ""
        """The name of the batch that was handed in last."""

    def run(self, *options: str, sources: Sequence[str] | None = None, out: Path | None = None) -> Ended:
        """Hand the list in, follow it to its end, and lay out what came of it in the output folder."""
        words = self._told(options)
        self.open()
        ended = self.submit(*words, "--watch", sources=sources).ended(LONGEST_S)
        self.note(ended)
        self.lay_out(out)
        return ended

    def open(self) -> None:
        """Start every service that does not run, and wait until all of them serve."""
        if waiting := [member for member in self.cluster.members if member not in self.cluster.programs]:
            self.cluster.start(*waiting)
        self.cluster.until_serving()

    def submit(self, *options: str, sources: Sequence[str] | None = None) -> Program:
        """Hand the list in."""
        given = list(sources) if sources is not None else [str(self.list)]
        recipe = [] if "--recipe" in options else ["--recipe", "dataset-256"]
        program = Program([IMAGEMILL, "submit", *given, "--to", self.cluster.target, *recipe, *options], self.folder)
        self.programs.append(program)
        return program

    def note(self, ended: Ended) -> None:
        """Remember which batch a submission has made."""
        self.batch = next(word for word in ended.out.split() if word.startswith("batches/"))

    def lay_out(self, out: Path | None = None) -> None:
        """Make the output folder from the mill's answers and its blob store."""
        folder = out or self.out
        folder.mkdir(parents=True, exist_ok=True)
        run_apart(self._lay_out(folder))

    async def _lay_out(self, folder: Path) -> None:
        async with MillClient(self.cluster.target, patience_s=30.0) as client:
            batch = await client.get(self.batch)
            blobs = LocalBlobs(self.cluster.blobs)
            await BatchFolder(folder, self.folder, blobs.local_path, batch).complete(client)

    def log(self) -> str:
        """What all services have logged."""
        return self.cluster.logs()

    def truth(self) -> Truth:
        """Look into the database."""
        batches = self.cluster.rows("SELECT * FROM batches ORDER BY created_at DESC")
        if not batches:
            return Truth(None, {}, {})
        batch = batches[0]
        counts = {state: batch[f"n_{state.name.lower()}"] for state in State}
        rows = self.cluster.rows(f"SELECT idx, state FROM items WHERE batch_id = '{batch['id']}'")
        return Truth(BatchState(batch["state"]), counts, {row["idx"]: State(row["state"]) for row in rows})

    def leftovers(self) -> list[str]:
        """What is left behind once the services were asked to end: files half done, orphans, living processes."""
        eventually_blocking(lambda: not self.orphans(), timeout_s=10.0)
        self.cluster.stop()
        files = [str(path) for path in self.cluster.scratch()]
        processes = [str(process) for process in self.cluster.strays()]
        return files + processes + self.orphans()

    def orphans(self) -> list[str]:
        """Where rows and blobs disagree: keys that no row names, and keys without a blob."""
        rows = self.cluster.rows("SELECT renders, original_key, remarks FROM items")
        named = {row["original_key"] for row in rows if row["original_key"]}
        for row in rows:
            named |= {render[1] for render in json.loads(row["renders"] or "[]")}
            named |= {key for key in [json.loads(row["remarks"] or "{}").get("undecodable_key")] if key}
        return sorted(named ^ set(self.cluster.stored()))

    def requests(self) -> Counter[str]:
        """What the server has been asked for until now, by path."""
        return Counter(self.server.requests)

    def _told(self, options: Sequence[str]) -> list[str]:
        """Tell the services what is theirs, by starting them anew if need be; returns the other options."""
        of_services = {
            option: name
            for group in (Downloading, Retrying)
            for name, setting in settings_of(group).items()
            for option in setting.options
        }
        words, told = [], {}
        left = iter(options)
        for word in left:
            if word in of_services:
                told[of_services[word].upper()] = next(left)
            else:
                words.append(word)
        if self.cluster.tell(told):
            self.cluster.stop()
        return words


@contextmanager
def open_services_house(
    folder: Path, broker_url: str, database_url: str, *, replicas: int = 1, kind: type[Cluster] = Cluster
) -> Iterator[ServicesHouse]:
    """Build a house in an empty folder; nothing of it runs on afterwards."""
    cluster = open_cluster(folder / "mill", broker_url, database_url, replicas=replicas, kind=kind)
    (folder / "mill").mkdir()
    with serve_in_thread() as server, cluster as opened:
        house = ServicesHouse(folder, server, opened)
        try:
            yield house
        finally:
            for program in house.programs:
                program.destroy()

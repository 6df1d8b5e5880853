"""The mill as services: four programs on RabbitMQ and PostgreSQL, all on this machine, all counted."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.environments import NotInstallable
from benchmarks.runners import Crew, Run, Runner
from tests.support import postgres_node, rabbitmq_node
from tests.support.cluster import IMAGEMILL, open_cluster
from tests.support.postgres_node import PostgresNode
from tests.support.rabbitmq_node import RabbitNode

_WORKERS = 2
_CHILDREN = max(1, (os.cpu_count() or 1) // _WORKERS)
"""As many rendering processes in all as there are cores."""


class MillServices(Runner):
    """One gateway, one storage service, two downloaders and two processors; the servers keep to their durability."""

    name = "mill-services"

    @contextmanager
    def standing(self, run: Run) -> Iterator[Crew]:
        """Have a broker, a database and the services up, with nothing in them.

        Raises:
            NotInstallable: there is no RabbitMQ or no PostgreSQL.
        """
        folder = run.output.with_suffix(".services")
        folder.mkdir()
        try:
            with (
                _servers() as (broker, database),
                open_cluster(folder, broker.url, database.url(), replicas=_WORKERS) as cluster,
            ):
                cluster.tell(
                    {
                        "STORAGE_TARGET": cluster.target_of("storage-1"),
                        "DOWNLOADS": "50",
                        "PER_HOST": "8",
                        "CHILDREN": str(_CHILDREN),
                    }
                )
                workers = [f"{kind}-{number}" for kind in ("downloader", "processor") for number in (1, 2)]
                cluster.start("storage-1", "gateway-1", *workers)
                cluster.until_serving()
                pids = {name: program.pid for name, program in cluster.programs.items()}
                pids |= {"rabbitmq": broker.pid, "postgres": database.pid}
                yield Crew(pids, self._submit(run, cluster.target))
                shutil.copytree(cluster.blobs / "batches", run.output, copy_function=os.link)
                cluster.stop()
        except (rabbitmq_node.ServerMissing, postgres_node.ServerMissing) as missing:
            raise NotInstallable(str(missing)) from missing

    def pictures(self, run: Run) -> Iterable[Path]:
        return (path for path in run.output.rglob("renders/**/*") if path.is_file())

    def _submit(self, run: Run, target: str) -> list[str]:
        return [IMAGEMILL, "submit", str(run.urls), "--to", target, "--recipe", run.job.recipe, "--watch"]


@contextmanager
def _servers() -> Iterator[tuple[RabbitNode, PostgresNode]]:
    # On a disk, wherever the pictures lie: they are to pay for their durability.
    with tempfile.TemporaryDirectory(prefix="rabbitmq-", ignore_cleanup_errors=True) as folder:
        broker = RabbitNode(Path(folder))
        try:
            database = PostgresNode(durable=True)
            try:
                yield broker, database
            finally:
                database.destroy()
        finally:
            broker.destroy()

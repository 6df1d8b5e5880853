"""A backup that was made while the mill worked, restored after everything was lost: as the operations guide says."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aio_pika

from imagemill.client import MillClient
from imagemill.domain.items import State
from imagemill.ports.broker import Queue
from tests.support import pictures
from tests.support.cluster import Cluster
from tests.support.picture_server import slow
from tests.support.postgres_node import program_path, run_apart, run_sql
from tests.support.services_house import open_services_house

NUMBER = 60
DURING = 25
"""So many items are final when the backup is made."""
RESULTS = "SELECT idx, state, attempt, sha256, error_code, renders FROM items ORDER BY idx"
FINAL = f"SELECT count(*) AS number FROM items WHERE state >= {State.SUCCEEDED.value}"


def finished(cluster: Cluster) -> int:
    return int(cluster.rows(FINAL)[0]["number"])


def postgres(program: str, *arguments: str) -> None:
    done = subprocess.run([program_path(program), *arguments], capture_output=True, text=True, timeout=60.0)
    assert done.returncode == 0, done.stdout + done.stderr


def split(url: str) -> tuple[str, str]:
    """The URL of a database as PostgreSQL's own programs take it, and the schema in it."""
    parts = urlsplit(url)
    return parts._replace(query="").geturl(), parse_qs(parts.query)["search_path"][0]


def copy_whole(blobs: Path, to: Path) -> None:
    """Copy what is there; originals of pictures that get finished meanwhile vanish under the copier's eyes."""
    for path in blobs.rglob("*"):
        target = to / path.relative_to(blobs)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            with suppress(FileNotFoundError):
                shutil.copy2(path, target)


async def followed(target: str, batch: str) -> None:
    async with MillClient(target, patience_s=30.0) as client:
        await client.wait(batch, give_up_after_s=60.0)


async def delete_queues(url: str) -> None:
    names = [f"{queue}{kind}" for queue in Queue for kind in ("", ".dead", ".buried")]
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        for name in (*names, "imagemill.epoch"):
            await channel.queue_delete(name)


def test_a_backup_made_under_way_is_restored_and_the_batch_ends_as_if_nothing_had_been(
    tmp_path: Path, rabbitmq_server: str, postgres_server: str
) -> None:
    dump, copy = tmp_path / "mill.dump", tmp_path / "copy"
    (tmp_path / "house").mkdir()
    with open_services_house(tmp_path / "house", rabbitmq_server, postgres_server) as services:
        cluster, server = services.cluster, services.server
        bodies = [pictures.jpeg(64, 48, seed=number) for number in range(NUMBER)]
        urls = [server.route(f"/{number}.jpg", slow(body, 4_000)) for number, body in enumerate(bodies)]
        services.write_list([*urls, server.url("/gone.jpg")])
        database, schema = split(cluster.database_url)
        services.open()
        submission = services.submit("--watch")
        submission.wait_until(lambda: finished(cluster) >= DURING)

        # The rows first, the files afterwards: what a row speaks of is in the copy then.
        postgres("pg_dump", "--format=custom", f"--schema={schema}", f"--file={dump}", database)
        copy_whole(cluster.blobs / "batches", copy)
        services.note(submission.ended(60.0))
        before, asked = cluster.rows(RESULTS), server.requests.copy()

        for member in list(cluster.programs):
            cluster.kill(member)
        run_sql(database, f"DROP SCHEMA {schema} CASCADE")
        run_apart(delete_queues(rabbitmq_server))
        shutil.rmtree(cluster.blobs)

        postgres("pg_restore", "--exit-on-error", f"--dbname={database}", str(dump))
        shutil.copytree(copy, cluster.blobs / "batches")
        done_already = [row["idx"] for row in cluster.rows(RESULTS) if row["state"] == State.SUCCEEDED.value]
        assert 0 < len(done_already) < NUMBER
        services.open()
        run_apart(followed(cluster.target, services.batch))

        assert cluster.rows(RESULTS) == before
        assert [index for index in done_already if server.requests[f"/{index}.jpg"] > asked[f"/{index}.jpg"]] == []
        services.lay_out()
        assert services.leftovers() == []

"""Each service by itself: started with nonsense, without its parts, and told to stop."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.cluster import IMAGEMILL, SERVICES, Cluster
from tests.support.processes import Program

NOWHERE = {"BROKER_URL": "amqp://mill:s3cret@127.0.0.1:1/", "STORAGE_TARGET": "127.0.0.1:1"}
PACKAGES = {
    "gateway": "gateway",
    "downloader": "downloader_svc",
    "processor": "processor_svc",
    "storage": "storage_svc",
}


@pytest.fixture
def lonely(tmp_path: Path) -> Iterator[Cluster]:
    """Services whose parts are all away."""
    database = "postgresql://mill:s3cret@127.0.0.1:1/mill"
    cluster = Cluster(tmp_path, "", database, 1, NOWHERE)
    yield cluster
    cluster.destroy()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    programs: list[Program] = []

    def start(*command: str, **environment: str) -> Program:
        programs.append(Program(command, tmp_path, environment=environment))
        return programs[-1]

    yield start
    for program in programs:
        program.destroy()


def says(program: Program, words: str) -> None:
    program.wait_until(lambda: words in program.err)


def test_services_wait_for_parts_that_are_away_say_which_and_stop_in_good_order(lonely: Cluster) -> None:
    lonely.start()
    for member, program in lonely.programs.items():
        says(program, "NOT_SERVING: the broker is away")
        assert lonely.serves(member) is False
    storage, gateway = lonely.programs["storage-1"], lonely.programs["gateway-1"]
    says(storage, "NOT_SERVING: the database is away")
    says(gateway, "NOT_SERVING: the storage service is away")

    lonely.stop()

    assert "s3cret" not in lonely.logs()
    assert "Traceback" not in lonely.logs()
    assert lonely.strays() == []


@pytest.mark.parametrize("service", SERVICES)
def test_nonsense_is_refused_in_words_whoever_starts_the_service(run: Callable[..., Program], service: str) -> None:
    told = {"IMAGEMILL_LISTEN": "nonsense", "IMAGEMILL_BROKER_URL": "http://broker"}
    ways = (IMAGEMILL, service), (sys.executable, "-m", PACKAGES[service])
    for program in [run(*way, **told) for way in ways]:
        ended = program.ended()
        assert ended.code == 2, ended.said
        assert "IMAGEMILL_LISTEN=nonsense" in ended.err
        assert "IMAGEMILL_BROKER_URL" in ended.err
        assert "Traceback" not in ended.err


def test_an_address_that_is_taken_is_refused_in_words(run: Callable[..., Program], lonely: Cluster) -> None:
    lonely.start("gateway-1")
    lonely.programs["gateway-1"].wait_until(lambda: lonely.serves("gateway-1") is False)

    ended = run(IMAGEMILL, "gateway", **lonely.environment("gateway-1")).ended()

    assert ended.code == 2, ended.said
    assert f"{lonely.target} can't be listened on" in ended.err


def test_a_second_signal_ends_a_service_at_once(run: Callable[..., Program], lonely: Cluster) -> None:
    environment = lonely.environment("gateway-1") | {"IMAGEMILL_GRACE_S": "300"}
    gateway = run(IMAGEMILL, "gateway", **environment)
    gateway.wait_until(lambda: lonely.serves("gateway-1") is False)

    gateway.send(signal.SIGTERM)
    says(gateway, "Stopping, because of SIGTERM")
    gateway.send(signal.SIGTERM)

    assert gateway.ended(5.0).code == 128 + signal.SIGTERM


def test_a_folder_that_cannot_be_written_is_a_part_that_is_away(lonely: Cluster) -> None:
    # A file where the folder should be stops root as well.
    lonely.blobs.write_text("no folder")
    lonely.start("downloader-1")
    downloader = lonely.programs["downloader-1"]
    says(downloader, "NOT_SERVING: the blob store is away")

    os.unlink(lonely.blobs)

    says(downloader, "The blob store is there")
    lonely.stop()

"""The deployment by Compose, on a real engine: from nothing to pictures, through every death, over `down` and `up`.

These are the only tests that may be skipped: where no engine answers, or it has no images and can't pull any.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest

from imagemill.v1.batch_pb2 import Batch
from tests.deploy.deployment import (
    HOST,
    PORT,
    SERVICES,
    SETTLE_S,
    Deployment,
    NoEngine,
    base_image,
    docker,
    ended_well,
    open_deployment,
)
from tests.support.eventually import eventually_blocking

pytestmark = pytest.mark.timeout(600)

BUILD_S = 540.0
LONGEST_S = 240.0
SLOW, FAST = 2, 100
"""Pictures a second."""
UPSTREAM_BASE_MB = 125
"""What python:3.13-slim takes; the base here may be another."""
LARGEST_MB = 350


@pytest.fixture(scope="module")
def standing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A mill that has been built and brought up by one command."""
    try:
        with open_deployment(tmp_path_factory.mktemp("compose")) as deployment:
            deployment.up("--build", timeout_s=BUILD_S)
            deployment.until_healthy()
            yield deployment
    except NoEngine as missing:
        notice = f"NOT TESTED: the deployment by Compose, because {missing}."
        plugins = request.config.pluginmanager
        with plugins.getplugin("capturemanager").global_and_fixture_disabled():
            plugins.getplugin("terminalreporter").write_line(f"\n{notice}", yellow=True)
        pytest.skip(notice)


def listed(deployment: Deployment, name: str, number: int) -> str:
    """Write a list of so many pictures, and return its path."""
    path = deployment.folder / f"{name}.txt"
    path.write_text("".join(f"{HOST}/{name}/{index}.jpg\n" for index in range(number)), encoding="utf-8")
    return str(path)


def test_the_image_holds_what_runs_and_nothing_else(standing: Deployment) -> None:
    size, base = (
        int(docker("image", "inspect", "--format", "{{.Size}}", image))
        for image in (standing.image, base_image(standing))
    )
    tools = "import shutil; print([name for name in ('pip', 'gcc', 'cc', 'make', 'git') if shutil.which(name)])"

    assert (size - base) / 1e6 < LARGEST_MB - UPSTREAM_BASE_MB
    assert docker("image", "inspect", "--format", "{{.Config.User}}", standing.image) == "10001:10001"
    assert standing.inside("processor", tools) == "[]"


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_can_write_nowhere_but_where_it_must(standing: Deployment, service: str) -> None:
    attempt = """
import pathlib
for place in ('/', '/app', '/etc/imagemill', '/tmp'):
    try:
        pathlib.Path(place, 'x').touch()
    except OSError as error:
        print(place, error.strerror)
"""

    assert standing.inside(service, attempt).splitlines() == [
        f"{place} Read-only file system" for place in ("/", "/app", "/etc/imagemill")
    ]


@pytest.mark.parametrize(("service", "gets_out"), [("downloader", True), ("processor", False), ("storage", False)])
def test_only_the_downloader_gets_out(standing: Deployment, service: str, gets_out: bool) -> None:
    attempt = f"""
import socket
try:
    socket.create_connection(("{standing.address("pictures")}", {PORT}), timeout=3).close()
    print(True)
except OSError:
    print(False)
"""

    assert standing.inside(service, attempt) == str(gets_out)


def test_every_part_is_there_and_only_the_gateway_is_published(standing: Deployment) -> None:
    published = {name: service["ports"] for name, service in standing.plan().items() if service.get("ports")}

    # It gives each part 15 s, and the first look at the broker makes queues.
    eventually_blocking(lambda: all_parts_are_there(standing), timeout_s=SETTLE_S)
    assert list(published) == ["gateway"]
    assert "127.0.0.1" in str(published["gateway"])


def test_a_list_becomes_pictures_from_the_host_and_from_a_container(standing: Deployment) -> None:
    from_host = ended_well(standing.imagemill("submit", listed(standing, "first", 30), "--watch"), LONGEST_S)
    lines = "".join(f"{HOST}/second/{index}.jpg\n" for index in range(30))
    from_container = standing.compose("run", "--rm", "-T", "mill", "submit", "-", "--watch", stdin=lines)

    assert "30 succeeded" in from_host.out
    assert "30 succeeded" in from_container
    collected = standing.folder / "pictures"
    collected.mkdir(mode=0o777)
    collected.chmod(0o777)
    mounted = ("--rm", "-T", "--volume", f"{collected}:/pictures", "mill")
    standing.compose("run", *mounted, "collect", batch_in(from_host.out), "-o", "/pictures")
    assert (collected / "manifest.csv").read_text(encoding="utf-8").count("SUCCEEDED") == 30
    batches = [standing.batch(batch_in(said)) for said in (from_host.out, from_container)]
    variants = len(batches[0].recipe.variants)
    assert len(list(collected.glob("*.*"))) == 30 * variants + 2
    assert [standing.renders(batch) for batch in batches] == [30 * variants] * 2


def test_whatever_is_killed_in_the_middle_of_a_batch_nothing_is_lost(standing: Deployment) -> None:
    total, apart = 300, 3
    standing.up("--scale", "downloader=3", "--scale", "processor=4")
    assert [len(standing.containers(name)) for name in ("downloader", "processor")] == [3, 4]
    standing.pace(SLOW)
    watch = standing.imagemill("submit", listed(standing, "third", total), "--recipe", "dataset-256", "--watch")
    watch.wait_until(lambda: "batches/" in watch.out)
    name = batch_in(watch.out)

    strikes = [
        *((standing.crash, service) for service in SERVICES),
        *((standing.kill, service) for service in ("rabbitmq", "postgres", "downloader")),
    ]
    done = 0
    for strike, service in strikes:
        progress = standing.until_final(name, done + apart).progress
        done = progress.succeeded + progress.failed
        assert done < total, f"over before {service} was killed"
        strike(service)
    standing.pace(FAST)

    ended_well(watch, LONGEST_S)
    expect_all_succeeded_once(standing, name, total)
    requests = standing.requests()
    urls = {f"{HOST}/third/{index}.jpg" for index in range(total)}
    assert urls <= set(requests)
    # What was in flight is fetched again, never the whole list.
    assert sum(requests[url] for url in urls) < 2 * total


def test_down_and_up_go_on_where_they_stopped(standing: Deployment) -> None:
    counted = "SELECT id, state, n_succeeded FROM batches"
    before = set(standing.rows(counted))
    standing.pace(SLOW)
    path, total = listed(standing, "fourth", 150), 150
    name = batch_in(ended_well(standing.imagemill("submit", path, "--recipe", "dataset-256"), LONGEST_S).out)
    standing.until_final(name, 10)
    final = standing.sources(name)

    standing.compose("down")
    standing.up()
    standing.batch(name)  # answers as soon as the gateway does
    ended_well(standing.imagemill("watch", name), LONGEST_S)

    assert 10 <= len(final) < total
    expect_all_succeeded_once(standing, name, total)
    # The host of pictures is a new one, whose memory begins with `up`.
    assert not set(final) & set(standing.requests())
    assert before <= set(standing.rows(counted))


def all_parts_are_there(deployment: Deployment) -> bool:
    """Whether the keeper's own look at the mill, from a container, finds nothing wrong."""
    with suppress(AssertionError):
        return deployment.compose("run", "--rm", "-T", "mill", "doctor").count(" ok ") == 5
    return False


def batch_in(said: str) -> str:
    """Return the name of the batch that a command has told."""
    return next(word.strip(".,:") for word in said.split() if word.startswith("batches/"))


def expect_all_succeeded_once(deployment: Deployment, name: str, total: int) -> None:
    """Expect counters, rows and stored pictures to agree that every item has succeeded."""
    batch = deployment.batch(name)
    rows = deployment.rows(
        "SELECT count(*), count(DISTINCT idx), count(DISTINCT state) FROM items "
        f"WHERE batch_id = '{name.removeprefix('batches/')}'"
    )

    assert (batch.state, batch.progress.total, batch.progress.succeeded) == (Batch.STATE_COMPLETED, total, total)
    assert rows == [f"{total}|{total}|1"]
    assert deployment.renders(batch) == total * len(batch.recipe.variants)

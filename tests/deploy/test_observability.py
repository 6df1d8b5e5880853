"""Metrics, dashboard and alerts on a real run: four services that are read by a real Prometheus."""

from __future__ import annotations

import json
import math
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import aio_pika
import pytest
import yaml

from imagemill.ports.broker import Queue
from imagemill.runtime import metrics
from tests.guards.tree import ROOT
from tests.support.cluster import IMAGEMILL, SERVICES, Cluster, open_cluster
from tests.support.eventually import eventually_blocking
from tests.support.picture_server import picture, serve_in_thread, slow, status
from tests.support.pictures import jpeg
from tests.support.postgres_node import run_apart
from tests.support.processes import Program
from tests.support.prometheus import TOLD, Prometheus, address_of, open_prometheus, program

DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "dashboards" / "imagemill.json").read_text(encoding="utf-8"))
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
RULES = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"][0]["rules"]
ALERT_TESTS = Path(__file__).with_name("alerts.yaml")
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
PATIENT = {"LEAST_WINDOW": "32", "LARGEST_WINDOW": "32", "DOWNLOADS": "4", "JOBS_PER_CHILD": "12"}
"""Settings under which work waits, and rendering processes are worn soon."""
MEMBERS = (*(f"{service}-1" for service in SERVICES), "downloader-2")
UNTIL_S = 60.0


@dataclass(frozen=True)
class Observed:
    """A run that is over, and what was seen of it."""

    cluster: Cluster
    prometheus: Prometheus
    start: float
    end: float
    pages: Mapping[str, str]
    """The metrics of each service after the run, as it tells them."""
    batch: str


@pytest.fixture(scope="module")
def observed(
    tmp_path_factory: pytest.TempPathFactory, rabbitmq_server: str, postgres_server: str
) -> Iterator[Observed]:
    """A batch of good, bad and repeated pictures, during which a downloader dies and the processor stands still.

    Beside it lies a message that nobody can read.
    """
    folder = tmp_path_factory.mktemp("observed")
    (folder / "mill").mkdir()
    with (
        open_cluster(
            folder / "mill", rabbitmq_server, postgres_server, replicas=2, told={**TOLD, **PATIENT}
        ) as cluster,
        serve_in_thread() as server,
        open_prometheus(folder / "prometheus") as prometheus,
    ):
        cluster.tell({"STORAGE_TARGET": cluster.target_of("storage-1")})
        cluster.start(*MEMBERS)
        cluster.until_serving()
        prometheus.read(cluster)
        eventually_blocking(lambda: len(prometheus.healthy_targets()) == len(MEMBERS), timeout_s=20.0)
        start = time.time()
        run_apart(publish(rabbitmq_server, b"unreadable"))
        urls = [server.route(f"/{number}.jpg", slow(jpeg(64, 48, seed=number), 8_000)) for number in range(100)]
        urls += [server.route(f"/gone/{number}.jpg", status(404)) for number in range(10)]
        urls += [server.route(f"/flaky/{number}.jpg", *[status(503)] * 3, picture(jpeg(32, 32))) for number in range(5)]
        given = folder / "urls.txt"
        given.write_text("".join(f"{url}\n" for url in [*urls, "not a URL", urls[0]]), encoding="utf-8")
        command = [IMAGEMILL, "submit", str(given), "--to", cluster.target, "--recipe", "dataset-256", "--watch"]
        submission = Program(command, folder)
        try:
            submission.wait_until(lambda: len(server.requests) > 20, UNTIL_S)
            cluster.kill("downloader-2")
            prometheus.read(cluster)
            cluster.programs["processor-1"].send(signal.SIGSTOP)
            waiting = 'sum(imagemill_queue_messages{kind="waiting"})'
            eventually_blocking(lambda: present(prometheus, waiting), timeout_s=20.0)
            cluster.programs["processor-1"].send(signal.SIGCONT)
            ended = submission.ended(UNTIL_S)
        finally:
            submission.destroy()
        assert ended.code == 1, ended.said
        pages = {member.rpartition("-")[0]: page(cluster, member) for member in cluster.programs}
        eventually_blocking(lambda: all_is_read(prometheus, pages), timeout_s=20.0)
        given_up = 'sum(imagemill_queue_messages{kind=~"dead|buried"})'
        eventually_blocking(lambda: present(prometheus, given_up), timeout_s=20.0)
        batch = next(word for word in ended.out.split() if word.startswith("batches/"))
        yield Observed(cluster, prometheus, start, time.time(), pages, batch)


async def publish(url: str, body: bytes) -> None:
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        await channel.default_exchange.publish(aio_pika.Message(body), Queue.DOWNLOAD.value)


def page(cluster: Cluster, member: str) -> str:
    with urlopen(f"http://{address_of(cluster, member)}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def series(text: str, name: str) -> dict[str, float]:
    """The series of a metric on a page, by what stands between the braces."""
    found = re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", text, re.MULTILINE)
    return {labels: float(value) for labels, value in found}


def all_is_read(prometheus: Prometheus, pages: Mapping[str, str]) -> bool:
    """Whether what Prometheus has of the finished items is what the store says."""
    told = sum(series(pages["storage"], "imagemill_items_finished_total").values())
    return present(prometheus, "sum(imagemill_items_finished_total)") == told


def present(prometheus: Prometheus, query: str) -> float:
    """What a query of one series gives now; 0 without any."""
    found = prometheus.ask("query", query=query)["result"]
    return float(found[0]["value"][1]) if found else 0.0


def test_the_store_counts_each_item_once_by_state_and_error_code(observed: Observed) -> None:
    finished = series(observed.pages["storage"], "imagemill_items_finished_total")

    assert {labels: value for labels, value in finished.items() if value} == {
        'error_code="",state="SUCCEEDED"': 106.0,
        'error_code="SOURCE_NOT_FOUND",state="FAILED"': 10.0,
        'error_code="SOURCE_INVALID",state="FAILED"': 1.0,
    }
    rows = observed.cluster.rows("SELECT state, count(*) AS number FROM items GROUP BY state")
    assert sum(row["number"] for row in rows) == sum(finished.values())


def test_the_store_measures_the_operations_of_every_finished_item(observed: Observed) -> None:
    number = series(observed.pages["storage"], "imagemill_operation_duration_seconds_count")

    assert number['operation="download"'] >= 106
    assert number['operation="decode"'] > 100


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_tells_its_own_metrics_and_promtool_has_nothing_against_them(
    observed: Observed, service: str
) -> None:
    text = observed.pages[service]
    told = set(re.findall(r"^# TYPE (imagemill_\S+)", text, re.MULTILINE))

    assert told == {metric.name for metric in metrics.ALL if service in metric.services}
    checked = subprocess.run([program("promtool"), "check", "metrics"], input=text, capture_output=True, text=True)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_no_label_holds_a_url_a_host_or_a_batch(observed: Observed) -> None:
    everything = "\n".join(observed.pages.values())

    assert observed.batch.removeprefix("batches/") not in everything
    assert "http:" not in everything
    assert "127.0.0.1" not in everything


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_each_panel_of_the_dashboard_shows_the_run(observed: Observed, panel: Mapping[str, Any]) -> None:
    for target in panel["targets"]:
        query = target["expr"].replace("$__rate_interval", "10s")
        values = observed.prometheus.values(query, observed.start, observed.end)
        shown = [value for value in values if math.isfinite(value)]
        assert shown, f"{query} shows nothing"
        assert max(shown) > 0, f"{query} shows only zeros"


def test_every_rule_is_evaluated_and_none_fires_in_health(observed: Observed) -> None:
    groups = observed.prometheus.ask("rules")["groups"]
    rules = {rule["name"]: rule for group in groups for rule in group["rules"]}

    assert list(rules) == [rule["alert"] for rule in RULES]
    assert {rule["health"] for rule in rules.values()} == {"ok"}
    assert [name for name, rule in rules.items() if rule["state"] == "firing"] == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_metric_that_a_rule_speaks_of_was_there(observed: Observed, rule: Mapping[str, str]) -> None:
    names = set(re.findall(r"\b(?:imagemill_\w+|process_\w+|up)\b(?=[{\[)\s])", rule["expr"]))

    assert names
    for name in names:
        assert observed.prometheus.values(name, observed.start, observed.end), name


def test_alerts_fire_when_they_should_and_not_when_they_should_not() -> None:
    done = subprocess.run([program("promtool"), "test", "rules", str(ALERT_TESTS)], capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_tried_with_trouble_and_without() -> None:
    tried: dict[str, set[bool]] = {rule["alert"]: set() for rule in RULES}
    for case in yaml.safe_load(ALERT_TESTS.read_text(encoding="utf-8"))["tests"]:
        for moment in case["alert_rule_test"]:
            tried[moment["alertname"]].add(bool(moment.get("exp_alerts")))

    assert {name for name, outcomes in tried.items() if outcomes != {True, False}} == set()


def test_the_dashboard_asks_the_data_source_that_is_provisioned() -> None:
    provisioned = ROOT / "deploy" / "grafana" / "provisioning" / "datasources" / "prometheus.yaml"
    (source,) = yaml.safe_load(provisioned.read_text(encoding="utf-8"))["datasources"]
    targets: Sequence[Mapping[str, Any]] = [target for panel in PANELS for target in panel["targets"]]

    assert {target["datasource"]["uid"] for target in targets} == {source["uid"]}
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@pytest.mark.parametrize("service", SERVICES)
def test_the_level_of_the_log_is_changed_while_a_service_runs(observed: Observed, service: str, tmp_path: Path) -> None:
    cluster, member = observed.cluster, f"{service}-1"
    command = [IMAGEMILL, "settings", "set", "log_level=debug", "--to", cluster.target_of(member)]
    changing = Program(command, tmp_path)
    try:
        assert changing.ended().code == 0
    finally:
        changing.destroy()

    assert "log_level is debug from now on" in cluster.log(member)


def test_nothing_has_waited_longer_than_the_run(observed: Observed) -> None:
    for name in ("imagemill_oldest_due_item_age_seconds", "imagemill_oldest_claim_age_seconds"):
        assert 0 < max(observed.prometheus.values(name, observed.start, observed.end)) <= observed.end - observed.start

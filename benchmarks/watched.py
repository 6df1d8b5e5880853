"""What a healthy and a sick run look like to Prometheus: two plots for the operations guide, made of real metrics.

`python -m benchmarks.watched` runs two downloaders and one of each other service on a RabbitMQ and a PostgreSQL of
their own, twice. In the second run a downloader dies and comes back, then RabbitMQ is away for a while. The pictures
come from a slow server of this machine, so that the run has a rate that any machine can keep.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from tests.support.cluster import IMAGEMILL, Cluster, open_cluster
from tests.support.eventually import eventually_blocking
from tests.support.picture_server import PictureServer, serve_in_thread, slow
from tests.support.pictures import jpeg, numbered
from tests.support.postgres_node import PostgresNode
from tests.support.processes import Program
from tests.support.prometheus import TOLD, Prometheus, open_prometheus
from tests.support.rabbitmq_node import RabbitNode

IMAGES = Path(__file__).parent.parent / "docs" / "images"
MEMBERS = ("storage-1", "gateway-1", "downloader-1", "downloader-2", "processor-1")
SETTINGS = {"DOWNLOADS": "4", "PER_HOST": "4", "LEAST_WINDOW": "64", "LARGEST_WINDOW": "64"}
"""Eight downloads at a time, and a window of eight times as many."""
PICTURE_S = 0.4
"""How long the server takes for a picture, about: 20 pictures a second for eight downloads."""
AWAY_S = 15.0
AFTERWARDS_S = 6.0
"""So long it is looked on when the batch has ended: what is read of database and broker is up to 5 s old."""
LONGEST_S = 240.0
PANELS: Mapping[str, Mapping[str, str]] = {
    "items finished a second": {
        "": 'sum by (state) (rate(imagemill_items_finished_total{state=~"SUCCEEDED|FAILED"}[5s]))'
    },
    "items": {
        "window": "max(imagemill_window_items)",
        "in flight": 'sum(max by (state) (imagemill_items{state=~"QUEUED|DOWNLOADING|DOWNLOADED|PROCESSING"}))',
    },
    "jobs in hand": {"": "sum by (queue) (imagemill_jobs_in_hand)"},
    "redelivered a second": {"": "sum by (queue) (rate(imagemill_redelivered_messages_total[5s]))"},
    "parts that are there": {
        "downloaders that answer": 'sum(up{job="imagemill-downloader"})',
        "broker, as services see it": 'min(imagemill_part_up{part="the broker"})',
    },
}
"""Each panel's queries by their names; one without a name is named by the label of its series."""
_MARKS = "#d1242f"


@dataclass
class Watched:
    """A run at work, and what was done to it."""

    cluster: Cluster
    broker: RabbitNode
    server: PictureServer
    prometheus: Prometheus
    marks: list[tuple[float, str]] = field(default_factory=list)

    def mark(self, what: str) -> None:
        """Note what happens now."""
        self.marks.append((time.time(), what))

    def until_asked(self, number: int) -> None:
        """Wait until the server of the pictures was asked so often."""
        eventually_blocking(lambda: self.server.requests.total() >= number, timeout_s=LONGEST_S)


def healthy(_run: Watched) -> None:
    """Let a run be."""


def sick(run: Watched) -> None:
    """Take a downloader away for a while, then the broker."""
    run.until_asked(200)
    run.mark("a downloader is killed")
    run.cluster.kill("downloader-2")
    run.until_asked(350)
    run.mark("it is started again")
    run.cluster.start("downloader-2")
    run.cluster.until_serving("downloader-2")
    run.prometheus.read(run.cluster)
    run.until_asked(650)
    run.mark("RabbitMQ is killed")
    run.broker.kill()
    time.sleep(AWAY_S)
    run.mark("it is started again")
    run.broker.start()


def main() -> None:
    """Make both plots."""
    # Text stays text, and the same figures give the same file.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "imagemill", "font.size": 9})
    for treat, pictures in ((healthy, 800), (sick, 1_000)):
        plot = IMAGES / f"{treat.__name__}-run.svg"
        with tempfile.TemporaryDirectory() as folder, _standing(Path(folder)) as run:
            start = time.time()
            _work_off(run, treat, pictures, Path(folder))
            _draw(run, start, time.time(), plot)
        print(f"{plot.name}: {', '.join(f'{at - start:.0f} s {what}' for at, what in run.marks) or 'undisturbed'}")


@contextmanager
def _standing(folder: Path) -> Iterator[Watched]:
    """Have a mill and a Prometheus that reads it."""
    (folder / "mill").mkdir()
    with ExitStack() as leaving:
        leaving.callback((broker := RabbitNode(folder / "rabbitmq")).destroy)
        leaving.callback((database := PostgresNode()).destroy)
        told = {**TOLD, **SETTINGS}
        mill = open_cluster(folder / "mill", broker.url, database.url(), replicas=2, told=told)
        cluster = leaving.enter_context(mill)
        server = leaving.enter_context(serve_in_thread())
        prometheus = leaving.enter_context(open_prometheus(folder / "prometheus"))
        cluster.tell({"STORAGE_TARGET": cluster.target_of("storage-1")})
        cluster.start(*MEMBERS)
        cluster.until_serving()
        prometheus.read(cluster)
        eventually_blocking(lambda: len(prometheus.healthy_targets()) == len(MEMBERS), timeout_s=30.0)
        yield Watched(cluster, broker, server, prometheus)


def _work_off(run: Watched, treat: Callable[[Watched], None], pictures: int, folder: Path) -> None:
    """Hand a batch in, do to it what is to be done, and follow it to its end; every picture must succeed."""
    body = jpeg(64, 48)
    answers = [slow(numbered(body, number), len(body) / PICTURE_S) for number in range(pictures)]
    urls = [run.server.route(f"/{number}.jpg", answer) for number, answer in enumerate(answers)]
    given = folder / "urls.txt"
    given.write_text("".join(f"{url}\n" for url in urls), encoding="utf-8")
    command = [IMAGEMILL, "submit", str(given), "--to", run.cluster.target, "--recipe", "dataset-256", "--watch"]
    submission = Program(command, folder)
    try:
        treat(run)
        ended = submission.ended(LONGEST_S)
    finally:
        submission.destroy()
    if ended.code:
        raise SystemExit(ended.said)
    time.sleep(AFTERWARDS_S)


def _draw(run: Watched, start: float, end: float, path: Path) -> None:
    figure = Figure(figsize=(7.5, 1.35 * len(PANELS)), layout="constrained")
    for axes, (title, queries) in zip(figure.subplots(len(PANELS), 1, sharex=True), PANELS.items(), strict=True):
        for name, query in queries.items():
            for label, points in _series(run.prometheus, query, start, end):
                axes.plot([at for at, _ in points], [value for _, value in points], label=name or label, linewidth=1.2)
        axes.set(xlim=(0, end - start))
        axes.set_ylim(0, max(1.0, axes.get_ylim()[1]))
        axes.set_title(title, loc="left", fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
        for at, _ in run.marks:
            axes.axvline(at - start, color=_MARKS, linewidth=0.8, linestyle="--")
    for number, (at, _) in enumerate(run.marks, 1):
        place: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "va": "top"}
        figure.axes[0].annotate(str(number), (at - start, 1.0), (3, 0), color=_MARKS, **place)
    figure.axes[-1].set_xlabel("seconds from the start")
    figure.savefig(path, format="svg", metadata={"Date": None})


def _series(
    prometheus: Prometheus, query: str, start: float, end: float
) -> Iterator[tuple[str, Sequence[tuple[float, float]]]]:
    """Each series of a query: the value of its label, and its points; where nothing is known, a gap."""
    for series in prometheus.ask("query_range", query=query, start=start, end=end, step=1)["result"]:
        known = {round(float(at) - start): float(value) for at, value in series["values"]}
        points = [(float(at), known.get(at, math.nan)) for at in range(round(end - start) + 1)]
        yield " ".join(series["metric"].values()), points


if __name__ == "__main__":
    main()

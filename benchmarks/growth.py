"""How cost grows with the batch: a standing mill, tiny pictures, 1,000 to 1,000,000 of them.

    python -m benchmarks.growth                       1,000 to 1,000,000 items, and 100 batches at once, for
                                                      docs/explanation/performance.md; an hour
    python -m benchmarks.growth --counts 10000,100000

Each figure should stay where it is from 10,000 items up, the time of intake as a whole apart.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import re
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import psutil

from benchmarks import corpus
from benchmarks.jobs import WrongOutput
from benchmarks.machine import facts
from benchmarks.measure import OFTEN_S, Sampler, cpu_at_rest, cpu_of
from benchmarks.rows import row_times
from benchmarks.server import serving
from imagemill.client import MillClient
from imagemill.client.recipes import recipe_message
from imagemill.domain.presets import PRESETS
from imagemill.v1 import batch_service_pb2 as api
from tests.support.cluster import IMAGEMILL
from tests.support.processes import Program

_COUNTS = [1000, 10_000, 100_000, 1_000_000]
_ASKED = 40
"""How often a quick answer is asked for."""
_BATCHES = 100
_ROUNDS = 3
"""How often a list of each size is handed in, and how often one that takes seconds is done."""
_LONGEST_UNREST_S = 300.0
_BANNER = re.compile(r"is up at (\S+)\.\n(?:.*\n)+Ctrl-C")


@dataclass(frozen=True, slots=True)
class Growth:
    """What a batch of one size costs."""

    items: int
    batches: int
    intake_s: float
    """Until the batch is returned, every item durable."""
    intake_ms: float
    """Of it for each item."""
    outside_ms: float
    """CPU of the mill's first process for each item: everything but decoding and encoding."""
    whole_ms: float
    """CPU of all processes for each item."""
    items_a_second: float
    peak_mb: float
    row_bytes: float
    """The size of the database file for each item."""
    list_ms: float
    """The first page of the items."""
    watch_ms: float
    """The first message of a watch that asks for items."""
    claim_ms: float
    """A claim of 256 items."""
    fold_ms: float
    """A fold of 256 results."""

    @property
    def pixels_ms(self) -> float:
        """CPU of the rendering processes for each item: the same work at each size, and so a measure of the machine."""
        return self.whole_ms - self.outside_ms

    @property
    def outside_share(self) -> float:
        """CPU outside pixels, in units of that in pixels: a machine that slows down for minutes slows both down."""
        return self.outside_ms / self.pixels_ms


LABELS = {
    "intake_ms": "intake, ms per item",
    "outside_ms": "CPU outside pixels, ms per item",
    "pixels_ms": "CPU in pixels, ms per item",
    "outside_share": "CPU outside pixels beside that in pixels",
    "peak_mb": "peak memory, MB",
    "row_bytes": "database, bytes per item",
    "list_ms": "first page of items, ms",
    "watch_ms": "first message of a watch, ms",
    "claim_ms": "claim of 256, ms",
    "fold_ms": "fold of 256, ms",
}
SHOWN_ONLY = ("outside_ms", "pixels_ms")
"""Figures that tell of the machine as much as of the mill; what is judged is one in units of the other."""
FLAT_FROM = 10_000
"""The smallest batch that larger ones are compared with: in smaller ones what is done once counts too much."""
_FLAT = 1.2
_LARGE, _LARGE_INTAKE_S = 1_000_000, 60.0


def judged(measured: Sequence[Growth]) -> Iterator[str]:
    """Tell of each goal that was measured whether it is met."""
    by_size = {(growth.items, growth.batches): growth for growth in measured}
    base = by_size.get((FLAT_FROM, 1))
    for growth in measured:
        alone = by_size.get((growth.items, 1))
        if growth.batches > 1 and alone:
            for name in ("outside_share", "intake_ms"):
                ratio = getattr(growth, name) / getattr(alone, name)
                label = LABELS[name].partition(",")[0]
                yield _told(f"{label}, {growth.batches} batches beside one of the same size", ratio, _FLAT)
        elif base and growth.items > base.items:
            for name, label in ((name, label) for name, label in LABELS.items() if name not in SHOWN_ONLY):
                ratio = getattr(growth, name) / getattr(base, name)
                yield _told(f"{label.partition(',')[0]}, {growth.items:,} beside {FLAT_FROM:,} items", ratio, _FLAT)
        if growth.items >= _LARGE:
            yield _told(f"intake of {growth.items:,} items, s", growth.intake_s, _LARGE_INTAKE_S)


def _told(describes: str, value: float, most: float) -> str:
    return f"{describes}: {value:.2f}, at most {most:g}: {'met' if value <= most else 'MISSED'}"


@dataclass(frozen=True, slots=True)
class Done:
    """What a mill has done and left."""

    growth: Growth
    """Without what is asked for by turns."""
    batch: str
    """The name of a batch that it did."""
    folder: Path


async def grow(address: str, count: int, batches: int, folder: Path) -> Done:
    """Have a new mill do `count` tiny pictures in so many batches."""
    with _standing_mill(folder) as (program, target):
        first = psutil.Process(program.pid)
        sampler = Sampler(OFTEN_S, [program.pid])
        sampler.start()
        before = _cpu(first)
        async with MillClient(target) as client:
            started = time.perf_counter()
            sizes = await _handed_in(client, address, count, batches)
            await _all_succeeded(client, sizes)
            took_s = time.perf_counter() - started
            # Manifest and report are written when the last watcher knows of the end already.
            cpu_at_rest({"mill": program.pid}, _LONGEST_UNREST_S)
            after = _cpu(first)
        sampler.stop()
        # A mill that has ended has brought everything into the one file.
        program.send(signal.SIGTERM)
        program.ended()
        growth = Growth(
            items=count,
            batches=batches,
            intake_s=math.nan,
            intake_ms=math.nan,
            outside_ms=1000 * (after[0] - before[0]) / count,
            whole_ms=1000 * (sum(after) - sum(before)) / count,
            items_a_second=count / took_s,
            peak_mb=sampler.peak_pss_bytes / 1e6,
            row_bytes=_database_bytes(folder) / count,
            list_ms=math.nan,
            watch_ms=math.nan,
            claim_ms=math.nan,
            fold_ms=math.nan,
        )
        return Done(growth, next(iter(sizes)), folder)


@contextmanager
def _standing_mill(folder: Path) -> Iterator[tuple[Program, str]]:
    """Run `imagemill up`; yield it and where it listens."""
    options = ["--data", str(folder), "--listen", "127.0.0.1:0", "--allow-net", "127.0.0.0/8"]
    program = Program([IMAGEMILL, "up", *options], folder.parent)
    try:
        program.wait_until(lambda: _BANNER.search(program.out))
        found = _BANNER.search(program.out)
        assert found is not None
        yield program, found[1]
    finally:
        program.destroy()


async def _handed_in(client: MillClient, address: str, count: int, batches: int) -> dict[str, int]:
    """Hand in `count` tiny pictures in so many batches at once; returns how many items each of them has."""
    shares = [range(number, count, batches) for number in range(batches)]
    names = await asyncio.gather(*(_submitted(client, address, share) for share in shares))
    return {name: len(share) for name, share in zip(names, shares, strict=True)}


async def _submitted(client: MillClient, address: str, numbers: Sequence[int]) -> str:
    urls = (f"{address}/tiny/{number:07d}.jpg" for number in numbers)
    batch = await client.submit(urls, recipe=recipe_message(PRESETS["dataset-256"].to_mapping()))
    return batch.name


async def _all_succeeded(client: MillClient, items: Mapping[str, int]) -> None:
    """Wait for the end of all batches, each with so many `items`; one watch follows them all.

    Raises:
        WrongOutput: not every item has its picture.
    """
    left = dict(items)
    async with aclosing(client.watch_all()) as updates:
        async for update in updates:
            if update.kind != api.BatchUpdate.KIND_END:
                continue
            batch = update.batch
            if batch.progress.succeeded != left.pop(batch.name):
                raise WrongOutput(f"{batch.name}: {batch.progress.succeeded} of {items[batch.name]} items succeeded")
            if not left:
                return


async def intakes(address: str, sizes: Sequence[tuple[int, int]], folder: Path) -> list[float]:
    """Hand each size, items and batches, in to a new mill, by turns and several times; returns medians in seconds."""
    times: list[list[float]] = [[] for _ in sizes]
    for _ in range(_ROUNDS):
        for (count, batches), taken in zip(sizes, times, strict=True):
            with (
                tempfile.TemporaryDirectory(prefix="intake-", dir=folder) as own,
                _standing_mill(Path(own) / "data") as (_, target),
            ):
                async with MillClient(target) as client:
                    started = time.perf_counter()
                    await _handed_in(client, address, count, batches)
                    taken.append(time.perf_counter() - started)
    return [statistics.median(taken) for taken in times]


async def answered(done: Sequence[Done]) -> list[Growth]:
    """Ask the mills again, side by side and by turns, for what takes milliseconds: meanwhile the machine may change."""
    first_pages, first_messages = ([list[float]() for _ in done] for _ in range(2))
    async with AsyncExitStack() as stack:
        mills = [stack.enter_context(_standing_mill(each.folder)) for each in done]
        clients = [await stack.enter_async_context(MillClient(target)) for _, target in mills]
        cpu_at_rest({target: program.pid for program, target in mills}, _LONGEST_UNREST_S)
        for _ in range(_ASKED):
            for number, (client, each) in enumerate(zip(clients, done, strict=True)):
                first_pages[number].append(await _first_ms(client.item_pages(each.batch, page_size=100)))
                first_messages[number].append(await _first_ms(client.watch(each.batch, view="items")))
    return [
        replace(each.growth, list_ms=statistics.median(pages), watch_ms=statistics.median(messages))
        for each, pages, messages in zip(done, first_pages, first_messages, strict=True)
    ]


async def _first_ms(stream: AsyncGenerator[object, None]) -> float:
    """Return how long the first answer of a stream takes."""
    started = time.perf_counter()
    async with aclosing(stream) as answers:
        await anext(answers)
        return 1000 * (time.perf_counter() - started)


def _cpu(first: psutil.Process) -> tuple[float, float]:
    """Return the CPU seconds of the mill's first process, and of all its children."""
    times = first.cpu_times()
    children = cpu_of(first.pid) - times.user - times.system
    return times.user + times.system, children


def _database_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("mill.db*"))


def main() -> int:
    choices = _parser().parse_args()
    corpus.ensure(choices.folder, "tiny")
    sizes = [(count, 1) for count in choices.counts]
    sizes += [(choices.together, _BATCHES)] if choices.together else []
    # All are kept until the end, when their mills are asked by turns.
    with serving(choices.folder) as address, tempfile.TemporaryDirectory(prefix="growth-") as folder:
        done = _all_done(address, sizes, Path(folder))
        answers = asyncio.run(answered(done))
        taken = asyncio.run(intakes(address, sizes, Path(folder)))
        rows = asyncio.run(row_times(sizes, Path(folder)))
    measured = [
        replace(each, intake_s=seconds, intake_ms=1000 * seconds / each.items, **asdict(times))
        for each, seconds, times in zip(answers, taken, rows, strict=True)
    ]
    for growth in measured:
        print(f"{growth.items:,} items in {growth.batches} batches")
        print(f"  intake {growth.intake_s:.2f} s, {growth.intake_ms:.4f} ms per item")
        print(f"  first page {growth.list_ms:.1f} ms, first message of a watch {growth.watch_ms:.1f} ms")
        print(f"  claim of 256 {growth.claim_ms:.1f} ms, fold of 256 {growth.fold_ms:.1f} ms")
    kept = choices.folder / "growth.jsonl"
    with kept.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps({**asdict(facts()), **asdict(growth)}) + "\n" for growth in measured)
    print(f"added to {kept}")
    print("\n".join(judged(measured)))
    if (choices.counts, choices.together) == (_COUNTS, FLAT_FROM):
        from benchmarks.publish import publish_growth

        publish_growth(measured, facts())
    return 0


def _all_done(address: str, sizes: Sequence[tuple[int, int]], folder: Path) -> list[Done]:
    """Do each size, the small ones several times around the large ones; the figures are medians."""
    runs: dict[tuple[int, int], list[Done]] = {size: [] for size in sizes}
    for number, size in enumerate(_in_order(sizes)):
        own = folder / f"{number}"
        own.mkdir()
        runs[size].append(asyncio.run(grow(address, *size, own / "data")))
        _print(runs[size][-1].growth)
    return [replace(same[0], growth=_median(same)) for same in runs.values()]


def _in_order(sizes: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    large = [size for size in sizes if size[0] > FLAT_FROM]
    for number in range(max(_ROUNDS, len(large))):
        if number < _ROUNDS:
            yield from (size for size in sizes if size not in large)
        yield from large[number : number + 1]


def _median(same: Sequence[Done]) -> Growth:
    figures = {each.name: [getattr(one.growth, each.name) for one in same] for each in fields(Growth)}
    return Growth(**{name: statistics.median(values) for name, values in figures.items()})


def _print(growth: Growth) -> None:
    print(f"{growth.items:,} items in {growth.batches} batches")
    for name in [each.name for each in fields(growth)[2:]] + ["pixels_ms", "outside_share"]:
        if not math.isnan(figure := getattr(growth, name)):
            print(f"  {name:<15} {figure:10.3f}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=_numbers, default=_COUNTS, help="items of each batch")
    parser.add_argument("--together", type=int, default=FLAT_FROM, help=f"items of {_BATCHES} batches at once; 0: none")
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="where everything is kept (%(default)s)")
    return parser


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    # Told to end, it ends what it has started, as it does when it is interrupted.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        sys.exit(main())
    except WrongOutput as wrong:
        sys.exit(f"benchmarks: {wrong}")

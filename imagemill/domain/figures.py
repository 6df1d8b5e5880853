"""What became of a batch's items, in figures: every item is added once, and memory does not grow with their number."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import nsmallest

from imagemill.domain.items import State

SIZE_BOUNDS = (0, 10_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000, 20_000_000)
MEGAPIXEL_BOUNDS = (0, 0.1, 0.5, 1, 2, 5, 12, 25, 50)
SIDE_BOUNDS = (0, 256, 512, 1024, 2048, 4096, 8192)
HOSTS_NAMED = 10
"""Hosts in each ranking."""

_WIDTH = math.log(1.01)
"""Values share a bucket when they differ by no more than one per cent."""


class Spread:
    """How positive values are spread: count, mean and largest exactly, percentiles within one per cent."""

    __slots__ = ("_buckets", "count", "largest", "smallest", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.smallest = math.inf
        self.largest = 0.0
        self._buckets: dict[int, int] = {}

    def add(self, value: float) -> None:
        """Count a value above 0."""
        self.count += 1
        self.total += value
        if value > self.largest:
            self.largest = value
        if value < self.smallest:
            self.smallest = value
        bucket = math.floor(math.log(value) / _WIDTH)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1

    @property
    def mean(self) -> float:
        """The mean; 0 of nothing."""
        return self.total / self.count if self.count else 0.0

    def percentile(self, share: float) -> float:
        """The value that `share` (0 to 100) of all values don't exceed, by nearest rank; 0 of nothing."""
        rank = max(math.ceil(self.count * share / 100), 1)
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= rank:
                middle = math.exp((bucket + 0.5) * _WIDTH)
                return min(max(middle, self.smallest), self.largest)
        return 0.0


class Buckets:
    """How many values lie between fixed bounds; the last bucket is open."""

    __slots__ = ("_bounds", "_counts")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * len(bounds)

    def add(self, value: float) -> None:
        """Count a value from the first bound on."""
        self._counts[bisect_right(self._bounds, value) - 1] += 1

    def __iter__(self) -> Iterator[tuple[float, float | None, int]]:
        """The lower bound, which belongs to it, the upper one, which does not, and the number of values of each."""
        return iter(zip(self._bounds, (*self._bounds[1:], None), self._counts, strict=True))


class Figures:
    """Sums and spreads over a batch's final items."""

    def __init__(self) -> None:
        self.attempts = 0
        self.retries = 0
        self.quick_retries = 0
        self.succeeded = 0
        self.attempts_of_succeeded = 0
        self.errors: Counter[str] = Counter()
        self.http_statuses: Counter[int] = Counter()
        self.formats: Counter[str] = Counter()
        self.downloaded_bytes = 0
        self.downloaded_bytes_of_succeeded = 0
        self.duplicates = 0
        self.duplicate_bytes = 0
        self.rendered_bytes = 0
        self.saved_bytes = 0
        self.cpu_ms = 0.0
        self.durations = {name: Spread() for name in ("download", "decode", "resize", "encode", "store")}
        self.sizes = Buckets(SIZE_BOUNDS)
        self.megapixels = Buckets(MEGAPIXEL_BOUNDS)
        self.longest_sides = Buckets(SIDE_BOUNDS)
        self._spreads = tuple(self.durations.values())

    def add(
        self,
        state: int,
        attempt: int,
        claims: int,
        tries: int | None,
        duplicate_of: int | None,
        error_code: str | None,
        http_status: int | None,
        size_bytes: int | None,
        file_format: str | None,
        width: int | None,
        height: int | None,
        rendered_bytes: int | None,
        cpu_ms: float | None,
        *durations_ms: float | None,
    ) -> None:
        """Add a final item; what is not known of it is None. The durations come in the order of `durations`."""
        self.attempts += attempt + (1 if claims else 0)
        self.retries += attempt
        if tries:
            self.quick_retries += tries - 1
        if http_status:
            self.http_statuses[http_status] += 1
        if size_bytes:
            self.downloaded_bytes += size_bytes
        if state == State.FAILED and error_code is not None:
            self.errors[error_code] += 1
        if state != State.SUCCEEDED:
            return
        self.succeeded += 1
        self.attempts_of_succeeded += attempt + 1
        self._add_original(size_bytes or 0, file_format or "", width or 0, height or 0)
        self.rendered_bytes += rendered_bytes or 0
        if duplicate_of is not None:
            self.duplicates += 1
            self.duplicate_bytes += size_bytes or 0
            self.saved_bytes += rendered_bytes or 0
        self.cpu_ms += cpu_ms or 0.0
        for spread, value in zip(self._spreads, durations_ms, strict=True):
            if value:
                spread.add(value)

    def _add_original(self, size_bytes: int, file_format: str, width: int, height: int) -> None:
        self.formats[file_format] += 1
        self.downloaded_bytes_of_succeeded += size_bytes
        self.sizes.add(size_bytes)
        self.megapixels.add(width * height / 1e6)
        self.longest_sides.add(max(width, height))


@dataclass(frozen=True, slots=True)
class HostFigures:
    """What became of the final items of one host."""

    host: str
    items: int
    failed: int
    downloaded_bytes: int
    mean_download_ms: float
    """Over the succeeded items; 0 when there are none."""


class Hosts:
    """The hosts of a batch: their number, and the few that stand out."""

    def __init__(self) -> None:
        self.total = 0
        self.failing: list[HostFigures] = []
        """Those with most failed items, most first."""
        self.slowest: list[HostFigures] = []
        """Those whose downloads took longest in the mean, slowest first."""

    def add(self, hosts: Sequence[HostFigures]) -> None:
        """Add hosts, each once."""
        self.total += len(hosts)
        failing = [each for each in hosts if each.failed]
        self.failing = nsmallest(HOSTS_NAMED, self.failing + failing, key=lambda each: (-each.failed, each.host))
        timed = [each for each in hosts if each.mean_download_ms]
        self.slowest = nsmallest(
            HOSTS_NAMED, self.slowest + timed, key=lambda each: (-each.mean_download_ms, each.host)
        )

"""Counters, gauges and histograms: plain numbers, cheap to change, read when somebody asks.

A metric belongs to the process, as in every client of Prometheus.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product

ALL: list[Metric] = []
"""Every metric, in the order of its declaration."""


class Metric:
    """What all kinds have: a name, words, and the labels that tell its series apart."""

    kind = ""

    def __init__(
        self,
        name: str,
        help: str,
        *,
        services: Sequence[str],
        labels: Sequence[str] = (),
        known: Sequence[Sequence[str]] = (),
    ) -> None:
        """`services` have it. `known` are the values that each label has from the start.

        Those series are there as zeros: one that begins at its first event hides that event.
        """
        self.name = name
        self.help = help
        self.services = tuple(services)
        self.labels = tuple(labels)
        self.known = tuple(product(*known)) if len(known) == len(self.labels) else ()
        ALL.append(self)


class Counter(Metric):
    """Something that is counted and only grows; its name ends in `_total`."""

    kind = "counter"

    def __init__(
        self,
        name: str,
        help: str,
        *,
        services: Sequence[str],
        labels: Sequence[str] = (),
        known: Sequence[Sequence[str]] = (),
    ) -> None:
        super().__init__(name, help, services=services, labels=labels, known=known)
        self.values: dict[tuple[str, ...], float] = dict.fromkeys(self.known, 0)

    def add(self, *labels: str, by: float = 1) -> None:
        """Count something."""
        self.values[labels] = self.values.get(labels, 0) + by


class Gauge(Metric):
    """Something that goes up and down: set, or read from where it is when somebody asks."""

    kind = "gauge"

    def __init__(
        self,
        name: str,
        help: str,
        *,
        services: Sequence[str],
        labels: Sequence[str] = (),
        known: Sequence[Sequence[str]] = (),
    ) -> None:
        super().__init__(name, help, services=services, labels=labels, known=known)
        self.values: dict[tuple[str, ...], float] = dict.fromkeys(self.known, 0)
        self._sources: list[Callable[[], float]] = []

    def set(self, value: float, *labels: str) -> None:
        """Say what it is now."""
        self.values[labels] = value

    @contextmanager
    def held(self, *labels: str) -> Iterator[None]:
        """One more for the length of the block."""
        self.values[labels] = self.values.get(labels, 0) + 1
        try:
            yield
        finally:
            self.values[labels] -= 1

    @contextmanager
    def read_from(self, source: Callable[[], float]) -> Iterator[None]:
        """Ask there, in any thread, for the length of the block; several sources are added up."""
        self._sources.append(source)
        try:
            yield
        finally:
            self._sources.remove(source)

    def read(self) -> dict[tuple[str, ...], float]:
        """What it is now, by the values of its labels."""
        found = dict(self.values)
        if sources := list(self._sources):
            found[()] = sum(source() for source in sources)
        return found


class Spread:
    """How many observations fell into each bucket, and what they add up to."""

    __slots__ = ("counts", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.total = 0.0


class Histogram(Metric):
    """How something is spread, by upper bounds of its buckets; the last one has none."""

    kind = "histogram"

    def __init__(
        self,
        name: str,
        help: str,
        *,
        services: Sequence[str],
        bounds: Sequence[float],
        labels: Sequence[str] = (),
        known: Sequence[Sequence[str]] = (),
    ) -> None:
        super().__init__(name, help, services=services, labels=labels, known=known)
        self.bounds = tuple(bounds)
        self.spreads = {labels: Spread(len(self.bounds) + 1) for labels in self.known}

    def observe(self, value: float, *labels: str) -> None:
        """Note one observation."""
        spread = self.spreads.get(labels)
        if spread is None:
            spread = self.spreads[labels] = Spread(len(self.bounds) + 1)
        spread.counts[bisect_left(self.bounds, value)] += 1
        spread.total += value

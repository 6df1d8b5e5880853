"""Spreads, buckets and hosts against what a plain sort says."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill.domain.figures import HOSTS_NAMED, SIDE_BOUNDS, Buckets, Figures, HostFigures, Hosts, Spread
from imagemill.domain.items import State

SHARES = (50, 90, 95, 99, 100)
values = st.lists(st.floats(min_value=0.001, max_value=1e7), min_size=1, max_size=200)


@given(values)
def test_percentiles_are_within_one_per_cent_of_a_sorted_list(numbers: list[float]) -> None:
    spread = Spread()
    for number in numbers:
        spread.add(number)

    ordered = sorted(numbers)
    for share in SHARES:
        exact = ordered[max(math.ceil(len(ordered) * share / 100), 1) - 1]
        assert spread.percentile(share) == pytest.approx(exact, rel=0.01)
    assert (spread.count, spread.largest) == (len(numbers), max(numbers))
    assert spread.mean == pytest.approx(sum(numbers) / len(numbers))


def test_one_value_is_told_exactly() -> None:
    spread = Spread()
    spread.add(12.34)

    assert [spread.percentile(share) for share in SHARES] == [12.34] * 5


def test_a_spread_of_nothing_is_zero() -> None:
    assert (Spread().percentile(50), Spread().mean, Spread().largest) == (0.0, 0.0, 0.0)


@given(st.lists(st.integers(min_value=0, max_value=20_000)))
def test_every_value_lies_in_the_one_bucket_that_has_it(numbers: list[int]) -> None:
    buckets = Buckets(SIDE_BOUNDS)
    for number in numbers:
        buckets.add(number)

    for lower, upper, count in buckets:
        assert count == sum(lower <= number < (math.inf if upper is None else upper) for number in numbers)


def test_a_bound_belongs_to_the_bucket_above_it() -> None:
    buckets = Buckets((0, 10, 20))
    for number in (9.99, 10, 20):
        buckets.add(number)

    assert list(buckets) == [(0, 10, 1), (10, 20, 1), (20, None, 1)]


def test_the_hosts_that_stand_out_do_not_depend_on_the_order_in_which_they_come() -> None:
    hosts = [HostFigures(f"h{n:03}.test", 9, n % 50, 100, (n * 37 % 101) + 1.0) for n in range(100)]
    ranked = Hosts()
    ranked.add(hosts)
    for seed in range(5):
        shuffled, again = random.Random(seed).sample(hosts, len(hosts)), Hosts()
        for start in range(0, len(hosts), 7):
            again.add(shuffled[start : start + 7])

        assert (again.total, again.failing, again.slowest) == (ranked.total, ranked.failing, ranked.slowest)
    assert [each.failed for each in ranked.failing[:4]] == [49, 49, 48, 48]
    assert len(ranked.slowest) == HOSTS_NAMED
    assert ranked.slowest[0].mean_download_ms == 101.0


def test_an_item_that_a_cancellation_reached_counts_its_attempts_and_bytes_alone() -> None:
    figures = Figures()
    figures.add(State.CANCELLED, 1, 1, 3, None, "READ_TIMEOUT", 200, 500, "jpeg", 0, 0, None, None, *[None] * 5)

    assert (figures.attempts, figures.retries, figures.quick_retries, figures.downloaded_bytes) == (2, 1, 2, 500)
    assert (figures.errors, figures.formats, figures.succeeded) == ({}, {}, 0)

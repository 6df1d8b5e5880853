"""How the window is shared out."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from imagemill.domain.fairness import FIRST_PORTION, RESERVED, Demand, HostShares, first_portions, share

demands = st.lists(
    st.builds(Demand, st.uuids().map(str), st.integers(1, 100), st.integers(0, 300), st.integers(1, 10_000)),
    min_size=1,
    max_size=6,
    unique_by=lambda demand: demand.batch_id,
)


@given(demands, st.integers(1, 256), st.integers(256, 4096))
def test_no_more_is_granted_than_there_is_room_and_than_is_wanted(wants: list[Demand], room: int, window: int) -> None:
    shares = share(room, window, wants)

    assert sum(shares.values()) <= room
    assert all(0 < shares[want.batch_id] <= want.waiting for want in wants if want.batch_id in shares)


@given(demands, st.integers(1, 256), st.integers(256, 4096))
def test_no_batch_but_one_alone_takes_the_last_quarter(wants: list[Demand], room: int, window: int) -> None:
    shares = share(room, window, wants)

    for want in wants:
        if len(wants) > 1 and want.batch_id in shares:
            assert want.in_flight + shares[want.batch_id] <= window - window // RESERVED


def test_one_alone_takes_the_whole_window() -> None:
    assert share(256, 256, [Demand("a", 10, 0, 1_000_000)]) == {"a": 256}


def test_a_small_batch_gets_its_items_at_once_while_a_huge_one_runs() -> None:
    huge, small = Demand("huge", 10, 192, 1_000_000), Demand("small", 10, 0, 10)

    assert share(64, 256, [huge, small]) == {"small": 10}


def test_what_nobody_else_wants_goes_to_the_one_who_wants_more() -> None:
    assert share(256, 256, [Demand("huge", 10, 0, 10_000), Demand("small", 10, 0, 10)]) == {"huge": 192, "small": 10}


def test_equal_batches_share_equally_and_the_first_in_need_comes_first() -> None:
    assert share(100, 100, [Demand("a", 10, 0, 500), Demand("b", 10, 0, 500)]) == {"a": 50, "b": 50}
    assert share(20, 100, [Demand("a", 10, 40, 500), Demand("b", 10, 10, 500)]) == {"b": 20}


def test_over_time_batches_are_served_by_their_priority() -> None:
    waiting, in_flight, served = {"a": 3000, "b": 3000}, Counter[str](), Counter[str]()
    for _ in range(40):
        wants = [Demand(name, 30 if name == "a" else 10, in_flight[name], waiting[name]) for name in waiting]
        for name, number in share(100 - in_flight.total(), 100, wants).items():
            waiting[name] -= number
            in_flight[name] += number
        # What is in flight is finished in the proportion in which it was taken up.
        for name in waiting:
            done = max(in_flight[name] // 2, 1)
            in_flight[name] -= done
            served[name] += done

    assert 2.5 <= served["a"] / served["b"] <= 3.5


def test_without_room_nothing_is_granted() -> None:
    assert share(0, 100, [Demand("a", 10, 100, 500)]) == {}
    assert share(-5, 100, [Demand("a", 10, 105, 500)]) == {}


def test_a_small_batch_gets_its_items_though_a_huge_one_fills_the_window() -> None:
    huge, small = Demand("huge", 10, 256, 1_000_000), Demand("small", 10, 0, 10)

    assert first_portions(256, 256, 256, [huge, small]) == {"small": 10}


def test_one_alone_is_given_nothing_beyond_the_window() -> None:
    assert first_portions(4, 256, 256, [Demand("a", 10, 4, 500)]) == {}


def crowd(in_flight: int, number: int = 100) -> list[Demand]:
    return [Demand(f"b{each}", 10, in_flight, 100, served_at=float(-each)) for each in range(number)]


def test_a_crowd_takes_turns_by_portions_those_first_that_have_waited_longest() -> None:
    shares = share(256, 256, crowd(0))

    assert shares == {f"b{each}": FIRST_PORTION for each in range(99, 99 - 256 // FIRST_PORTION, -1)}


def test_a_crowd_gets_first_portions_when_the_reserve_is_free_and_not_by_the_item() -> None:
    assert first_portions(300, 256, 256, crowd(0)) == {}
    assert first_portions(256, 256, 256, crowd(0)) == {f"b{each}": FIRST_PORTION for each in (99, 98, 97, 96)}


@given(demands, st.integers(0, 300), st.integers(64, 4096), st.integers(1, 256))
def test_first_portions_exceed_the_window_by_its_reserve_at_most(
    wants: list[Demand], others: int, window: int, most: int
) -> None:
    in_flight = others + sum(want.in_flight for want in wants)

    portions = first_portions(in_flight, window, most, wants)

    assert in_flight + sum(portions.values()) <= max(window + window // RESERVED, in_flight)
    assert sum(portions.values()) <= most
    for want in wants:
        granted = portions.get(want.batch_id, 0)
        assert granted <= want.waiting
        assert not granted or want.in_flight + granted <= FIRST_PORTION


@given(st.integers(1, 3), st.integers(256, 4096))
def test_hosts_that_take_what_they_get_one_after_another_leave_half_of_what_they_find(hosts: int, window: int) -> None:
    shares = HostShares({}, window)
    names = [f"{number}.test" for number in range(hosts)]
    held = Counter(name for name in names for _ in range(window) if shares.grant(name))

    assert window - held.total() == window >> hosts


def test_hosts_that_take_turns_have_equal_parts_and_leave_as_much() -> None:
    shares = HostShares({}, 400)
    held = Counter(name for _ in range(400) for name in ("a.test", "b.test", "c.test") if shares.grant(name))

    assert held == {"a.test": 100, "b.test": 100, "c.test": 100}


def test_a_host_with_next_to_nothing_gets_a_first_portion_without_any_room() -> None:
    shares = HostShares({"slow.test": 100, "new.test": FIRST_PORTION - 2}, 0)

    assert not shares.grant("slow.test")
    assert [shares.grant("new.test") for _ in range(3)] == [True, True, False]


def test_what_names_no_host_is_never_refused() -> None:
    shares = HostShares({"": 1_000}, 0)

    assert shares.grant("")


def test_where_shares_do_not_bind_whoever_has_least_is_first() -> None:
    shares = HostShares({"slow.test": 4, "quick.test": 1}, 0)

    assert shares.spread(["slow.test", "slow.test", "quick.test", "new.test", "quick.test"], 4) == [3, 2, 4, 0]

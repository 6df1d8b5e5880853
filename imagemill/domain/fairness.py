"""How the conveyor's room is shared out among batches, and among the hosts of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Demand:
    """A batch that wants work."""

    batch_id: str
    priority: int
    in_flight: int
    waiting: int
    served_at: float = 0.0
    """When it was last worked on; of those that have equally little, the one that has waited longest comes first."""

    @property
    def need(self) -> tuple[float, float]:
        """Whose turn it is: the least comes first."""
        return self.in_flight / self.priority, self.served_at


RESERVED = 4
"""One part in this many of the window is never taken by one batch while another one wants work."""


FIRST_PORTION = 16
"""Items that a batch may have in flight however full the window is: a small batch is done before a huge one's next."""


def _portion(window: int) -> int:
    return min(FIRST_PORTION, window // RESERVED // 2)


def first_portions(in_flight: int, window: int, most: int, demands: Sequence[Demand]) -> dict[str, int]:
    """How many items to claim, `most` in all, of batches with next to nothing in flight beside others, room or no room.

    `in_flight` is what all batches have, those that want nothing more included. The window is exceeded by one part in
    `RESERVED` at most. Where more want a portion than find room, they wait until that part is free: a crowd would take
    each place as it falls free, and make a transaction and a message of every item.
    """
    room = min(window + window // RESERVED - in_flight, most)
    portion = _portion(window)
    wanted = {
        demand.batch_id: min(portion - demand.in_flight, demand.waiting)
        for demand in sorted(demands, key=lambda demand: demand.need)
        if demand.in_flight <= portion // 2 and demand.in_flight != in_flight
    }
    if room < min(sum(wanted.values()), window // RESERVED, most):
        return {}
    portions: dict[str, int] = {}
    for batch_id, number in wanted.items():
        if room > 0:
            portions[batch_id] = min(number, room)
            room -= portions[batch_id]
    return portions


def share(room: int, window: int, demands: Sequence[Demand]) -> dict[str, int]:
    """How many items of each batch to claim: `room` in all, of a window of `window` items.

    First every batch is brought up to its share of the window, by priority, those with the least of it first;
    what is left goes to whoever wants more. No batch but one alone takes the last quarter of the window. Batches so
    many that their shares would be less than a portion take turns instead.
    """
    shares: dict[str, int] = {}
    ceiling = window if len(demands) == 1 else window - window // RESERVED
    weights = sum(demand.priority for demand in demands)
    shared = max(window, _portion(window) * len(demands))
    by_need = sorted(demands, key=lambda demand: demand.need)
    for demand in by_need:
        fair = min(max(shared * demand.priority // weights, 1), ceiling)
        granted = max(min(fair - demand.in_flight, demand.waiting, room), 0)
        shares[demand.batch_id] = granted
        room -= granted
    for demand in by_need:
        held = demand.in_flight + shares[demand.batch_id]
        extra = max(min(ceiling - held, demand.waiting - shares[demand.batch_id], room), 0)
        shares[demand.batch_id] += extra
        room -= extra
    return {batch_id: number for batch_id, number in shares.items() if number}


class HostShares:
    """Shares the window's room out among the hosts of one batch: each may hold as much as is left for all others.

    So one that does not answer leaves half of the window free, the next one half of that, and those that take turns
    have equal parts. (The dynamic threshold, with alpha 1, of Choudhury and Hahne, "Dynamic queue length thresholds for
    shared-memory packet switches", 1998.)
    """

    def __init__(self, held: Mapping[str, int], room: int) -> None:
        self._held = Counter(held)
        self._room = room

    def is_full(self, host: str) -> bool:
        """Whether a host has its share; a first portion it has anyway, and nobody needs any."""
        return bool(host) and self._held[host] >= max(self._room, FIRST_PORTION)

    def grant(self, host: str) -> bool:
        """Give a host room for one more item, unless it has its share."""
        if self.is_full(host):
            return False
        self._held[host] += 1
        self._room -= 1
        return True

    def spread(self, hosts: Iterable[str], number: int) -> list[int]:
        """Choose so many items of these hosts, by position, where shares don't bind: whoever has least is first."""
        held = self._held.copy()
        ranked: list[tuple[int, int]] = []
        for position, host in enumerate(hosts):
            ranked.append((held[host], position))
            held[host] += 1
        return [position for _, position in sorted(ranked)[:number]]

"""Which due items of a batch are claimed: those of a slow host leave room for the others' that stand behind them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from imagemill.domain.batches import Batch
from imagemill.domain.fairness import FIRST_PORTION, HostShares
from imagemill.ports.records import DueItem, Place, Unit

LOOK = 2048
"""Items that a claim looks at behind those whose hosts have their share, if need be. They cost it some milliseconds;
what stands behind a hundred thousand of one host is found within half a minute."""
NEAR = 4
"""How many it looks at first for each that it wants: where hosts are mixed, others are near."""
PATIENCE = 10
"""Looks in vain after which all that was found is passed over, too: these hosts are as slow."""
_START: Place = (-1.0, -1)


class Chooser:
    """Chooses what is claimed of batches, and remembers how far it has looked."""

    def __init__(self) -> None:
        self._passed: dict[str, _Passed] = {}

    def forget_all_but(self, batch_ids: Collection[str]) -> None:
        """Forget batches of which nothing more can be claimed."""
        for batch_id in self._passed.keys() - batch_ids:
            del self._passed[batch_id]

    async def due_items(self, unit: Unit, batch: Batch, now: float, number: int, room: int) -> list[DueItem]:
        """Choose `number` due items, or fewer: those whose hosts have their share only where no others are due.

        `room` is what the window has.
        """
        due = await unit.due_items(batch.id, now, number, in_flight=False)
        if batch.counts.in_flight + len(due) <= max(room - len(due), FIRST_PORTION):
            return due  # no host would have more than its share, even if all is one host's
        shares = HostShares(await unit.asked_hosts(batch.id), room)
        chosen: list[DueItem] = []
        refused: list[DueItem] = []
        for item in due:
            (chosen if _is_stored(item) or shares.grant(item.host) else refused).append(item)
        if not refused or len(due) < number:
            return due
        passed, start = self._passed_of(batch.id, shares), (due[-1].due_at, due[-1].index)
        for limit in (NEAR * len(refused), LOOK):
            found = await unit.due_hosts(batch.id, now, max(passed.place, start), limit)
            others = passed.choose(found, shares, len(refused))
            if others or len(found) < limit:
                break
        if len(found) < limit:
            # All that is due is known, so what nobody else wants is nobody's share.
            waiting = [(item.index, item.host) for item in refused]
            waiting += [(index, host) for (_, index), host in found if index not in others]
            spread = shares.spread((host for _, host in waiting), len(refused) - len(others))
            chosen += [refused[position] for position in spread if position < len(refused)]
            others += [waiting[position][0] for position in spread if position >= len(refused)]
        if others:
            chosen += await unit.due_items_of(batch.id, others, now)
        return chosen

    def _passed_of(self, batch_id: str, shares: HostShares) -> _Passed:
        passed = self._passed.get(batch_id)
        if passed is None or not all(shares.is_full(host) for host in passed.hosts):
            # What was passed over may be taken now.
            passed = self._passed[batch_id] = _Passed()
        return passed


@dataclass(slots=True)
class _Passed:
    """Where to look on: all that waits before it, and behind what is due first, is of these hosts."""

    place: Place = _START
    hosts: set[str] = field(default_factory=set)
    _in_vain: int = 0
    """Looks that have found nothing since the last that did."""

    def choose(self, found: Sequence[tuple[Place, str]], shares: HostShares, number: int) -> list[int]:
        """Choose so many items of what was found, and pass over what is refused before the first of them."""
        chosen: list[int] = []
        is_first, passes = not self.hosts, True
        for place, host in found:
            if len(chosen) == number:
                break
            if shares.grant(host):
                chosen.append(place[1])
                passes = False
            elif passes and (is_first or host in self.hosts):
                self.place = place
                self.hosts.add(host)
            else:
                # A host that is quick has its share for a moment. Were it passed over, all would be looked at again.
                passes = False
        self._in_vain = 0 if chosen else self._in_vain + 1
        if found and self._in_vain > PATIENCE:
            self.place = found[-1][0]
            self.hosts.update(host for _, host in found)
        return chosen


def _is_stored(item: DueItem) -> bool:
    """Whether nobody has to be asked for it."""
    return item.original is not None and bool(item.original.key)

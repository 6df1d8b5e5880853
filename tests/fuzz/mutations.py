"""Ways to damage bytes, as values that Hypothesis draws, shrinks and prints.

A place is given in 65,536ths of the length, so that a mutation means something in whatever it is applied to.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Protocol, TypeVar, cast

from hypothesis import strategies as st

from tests.fuzz.anatomy import Anatomy, anatomy_of
from tests.fuzz.originals import FORMATS, originals

T = TypeVar("T")

_WHOLE = 1 << 16
_LONGEST = 1 << 20
"""No mutation makes more bytes than this."""
_TELLING = (
    0,
    1,
    2,
    7,
    8,
    40,
    255,
    256,
    4096,
    9999,
    12000,
    20000,
    32767,
    32768,
    65535,
    65536,
    2**24 - 1,
    2**31 - 1,
    2**31,
    2**32 - 1,
)


class Mutation(Protocol):
    """A way to damage bytes."""

    def apply(self, data: bytes) -> bytes: ...


def _place(share: int, data: bytes) -> int:
    return share * len(data) // _WHOLE


@dataclass(frozen=True)
class Flip:
    at: int
    bits: int

    def apply(self, data: bytes) -> bytes:
        if not data:
            return data
        at = _place(self.at, data)
        return data[:at] + bytes([data[at] ^ self.bits]) + data[at + 1 :]


@dataclass(frozen=True)
class Fill:
    at: int
    value: int
    count: int

    def apply(self, data: bytes) -> bytes:
        at = _place(self.at, data)
        end = min(len(data), at + self.count)
        return data[:at] + bytes([self.value]) * (end - at) + data[end:]


@dataclass(frozen=True)
class Truncate:
    at: int

    def apply(self, data: bytes) -> bytes:
        return data[: _place(self.at, data)]


@dataclass(frozen=True)
class CutOut:
    at: int
    count: int

    def apply(self, data: bytes) -> bytes:
        at = _place(self.at, data)
        return data[:at] + data[at + self.count :]


@dataclass(frozen=True)
class Insert:
    at: int
    garbage: bytes
    times: int = 1

    def apply(self, data: bytes) -> bytes:
        at = _place(self.at, data)
        return (data[:at] + self.garbage * self.times + data[at:])[:_LONGEST]


@dataclass(frozen=True)
class Repeat:
    at: int
    count: int
    times: int

    def apply(self, data: bytes) -> bytes:
        at = _place(self.at, data)
        piece = data[at : at + self.count]
        return (data[:at] + piece * self.times + data[at:])[:_LONGEST]


def _shares() -> st.SearchStrategy[int]:
    return st.integers(0, _WHOLE - 1)


def _bytes() -> st.SearchStrategy[int]:
    return st.integers(1, 255)


def damage() -> st.SearchStrategy[Mutation]:
    """Mutations that know nothing of what they damage."""
    counts = st.integers(1, 64)
    garbage = st.binary(min_size=1, max_size=16)
    return st.one_of(
        st.builds(Flip, _shares(), _bytes()),
        st.builds(Fill, _shares(), st.sampled_from([0, 255, 127, 128]), counts),
        st.builds(Truncate, _shares()),
        st.builds(CutOut, _shares(), counts),
        st.builds(Insert, _shares(), garbage, st.sampled_from([1, 1, 1, 1000])),
        st.builds(Repeat, _shares(), counts, st.integers(1, 64)),
    )


def damaged(data: bytes, mutations: tuple[Mutation, ...]) -> bytes:
    for mutation in mutations:
        data = mutation.apply(data)
    return data


@dataclass(frozen=True)
class Edit:
    """Writes another value into one of a file's telling numbers."""

    number: int
    value: int

    def apply(self, data: bytearray, anatomy: Anatomy) -> None:
        if not anatomy.numbers:
            return
        place = anatomy.numbers[self.number % len(anatomy.numbers)]
        order = cast("Literal['big', 'little']", place.order)
        value = (self.value % (1 << 8 * place.width)).to_bytes(place.width, order)
        data[place.at : place.at + place.width] = value


@dataclass(frozen=True)
class Move:
    """Takes one of a file's parts, perhaps away from where it is, and puts it elsewhere so many times."""

    part: int
    to: int
    times: int
    keep: bool

    def apply(self, parts: list[bytes]) -> None:
        if not parts:
            return
        at = self.part % len(parts)
        taken = parts[at] if self.keep else parts.pop(at)
        parts[self.to % (len(parts) + 1) : 0] = [taken] * self.times


@dataclass(frozen=True)
class Mutant:
    """A damaged picture, and everything needed to make it again."""

    format: str
    original: str
    edits: tuple[Edit, ...]
    moves: tuple[Move, ...]
    damage: tuple[Mutation, ...]
    tail: tuple[str, str, int] | None
    """Another original, by format and name, from this share of it on: what follows the bytes that are left."""
    sealed: bool
    """Whether the checksums of a PNG are put right: what is behind them is then read."""

    def content(self) -> bytes:
        """Make the file."""
        whole = originals(self.format)[self.original]
        anatomy = anatomy_of(whole, self.format)
        edited = bytearray(whole)
        for edit in self.edits:
            edit.apply(edited, anatomy)
        cuts = anatomy.cuts
        parts = [bytes(edited[start:end]) for start, end in pairwise(cuts)]
        for move in self.moves:
            move.apply(parts)
        data = damaged(b"".join(parts)[:_LONGEST], self.damage)
        if self.tail is not None:
            other = originals(self.tail[0])[self.tail[1]]
            data += other[_place(self.tail[2], other) :]
        return _sealed(data) if self.sealed and self.format == "png" else data


def mutants(format_: str) -> st.SearchStrategy[Mutant]:
    """Damaged pictures of a format."""
    edits = st.builds(Edit, st.integers(0, 199), st.one_of(st.sampled_from(_TELLING), st.integers(0, 2**32 - 1)))
    moves = st.builds(
        Move, st.integers(0, 49), st.integers(0, 49), st.sampled_from([0, 1, 1, 2, 500]), keep=st.booleans()
    )
    kinds = [(other, name) for other in (format_, *FORMATS) for name in originals(other)]
    tails = st.builds(_tail, st.sampled_from(kinds), _shares())
    # Most decoders look no further than the first fault: a single one gets deepest.
    faults = st.one_of(
        st.tuples(edits.map(_alone), st.just(()), st.just(())),
        st.tuples(st.just(()), moves.map(_alone), st.just(())),
        st.tuples(st.just(()), st.just(()), damage().map(_alone)),
        st.tuples(_few(edits), _few(moves), _few(damage())),
    )
    return st.builds(
        _mutant,
        st.just(format_),
        st.sampled_from(list(originals(format_))),
        faults,
        st.one_of(st.none(), st.none(), st.none(), tails),
        st.booleans(),
    )


def _mutant(
    format_: str,
    original: str,
    faults: tuple[tuple[Edit, ...], tuple[Move, ...], tuple[Mutation, ...]],
    tail: tuple[str, str, int] | None,
    sealed: bool,
) -> Mutant:
    return Mutant(format_, original, *faults, tail, sealed)


def _alone(what: T) -> tuple[T, ...]:
    return (what,)


def _tail(kind: tuple[str, str], share: int) -> tuple[str, str, int]:
    return (*kind, share)


def _few(what: st.SearchStrategy[T]) -> st.SearchStrategy[tuple[T, ...]]:
    return st.lists(what, max_size=3).map(tuple)


def _sealed(data: bytes) -> bytes:
    return data[:8] + b"".join(_chunks(data))


def _chunks(data: bytes) -> Iterator[bytes]:
    at = 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        body = data[at + 4 : end]
        yield data[at : at + 4] + body + zlib.crc32(body).to_bytes(4, "big")
        at = end + 4
    yield data[at:]

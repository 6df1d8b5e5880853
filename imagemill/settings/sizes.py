"""Sizes in bytes, as people write them."""

from __future__ import annotations

import re
from dataclasses import dataclass

_UNITS = {"B": 1, "kB": 10**3, "KiB": 2**10, "MB": 10**6, "MiB": 2**20, "GB": 10**9, "GiB": 2**30}
_FACTORS = {unit.lower(): factor for unit, factor in _UNITS.items()} | {"": 1}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,15})?) ?([a-z]*)", re.ASCII)


@dataclass(frozen=True, repr=False)
class ByteSize:
    """A number of bytes within bounds, with or without a unit."""

    lowest: int
    highest: int
    what: str

    @property
    def allowed(self) -> str:
        """The bounds, which show the form."""
        return f"{self.write(self.lowest)} to {self.write(self.highest)}"

    def read(self, given: object) -> int:
        """Read `100MB`, `1.5 GiB` or a whole number of bytes."""
        size = _bytes(given)
        if size is None:
            raise ValueError(f"give bytes, or a number with {', '.join(_UNITS)}. Allowed are {self.allowed}.")
        if not self.lowest <= size <= self.highest:
            raise ValueError(f"{self.what}; give {self.allowed}.")
        return size

    def write(self, value: int) -> str:
        """The shortest way to write it exactly."""
        exact = [f"{value // factor}{unit}" for unit, factor in _UNITS.items() if value % factor == 0]
        return min(exact, key=len)


def _bytes(given: object) -> int | None:
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    match = _SIZE.fullmatch(given.strip().lower()) if isinstance(given, str) else None
    if match is None or match[2] not in _FACTORS:
        return None
    return round(float(match[1]) * _FACTORS[match[2]])

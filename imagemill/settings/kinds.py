"""What a setting's value may be: how it is read, how it is written, and how a refusal says what is allowed.

Every start of the command defines these classes and those of the groups: methods that nobody uses are left out, since
each takes a tenth of a millisecond.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_interface, ip_network
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from imagemill.domain.quoting import named

T = TypeVar("T")
WordT = TypeVar("WordT", bound=str)

Network = IPv4Network | IPv6Network


class Kind(Protocol[T]):
    """How values of one sort are read and written; `write` gives a text that `read` takes."""

    @property
    def allowed(self) -> str:
        """What may be given, for people."""

    def read(self, given: object) -> T:
        """Return the value meant by a text, or by what a file in YAML, TOML or JSON holds.

        Raises:
            ValueError: the text says what to give instead.
        """

    def write(self, value: T) -> str:
        """Return the value as a text."""


@dataclass(frozen=True, repr=False)
class WholeNumber:
    """A whole number within bounds."""

    lowest: int
    highest: int
    what: str

    @property
    def allowed(self) -> str:
        """The bounds."""
        return f"{self.lowest:,} to {self.highest:,}"

    def read(self, given: object) -> int:
        """Read a whole number; 16.9 is not taken for 16."""
        try:
            number = int(given) if isinstance(given, str) else given
        except ValueError:
            number = None
        if not isinstance(number, int) or isinstance(number, bool):
            raise ValueError(f"give a whole number. Allowed are {self.allowed}.")
        if not self.lowest <= number <= self.highest:
            raise ValueError(f"{self.what}; give a number from {self.lowest:,} to {self.highest:,}.")
        return number

    def write(self, value: int) -> str:
        """The number in digits."""
        return str(value)


@dataclass(frozen=True, repr=False)
class Number:
    """A number within bounds, with or without decimals."""

    lowest: float
    highest: float
    what: str

    @property
    def allowed(self) -> str:
        """The bounds."""
        return f"{self.lowest:,g} to {self.highest:,g}"

    def read(self, given: object) -> float:
        """Read a number."""
        try:
            number = float(given) if isinstance(given, str | int | float) and not isinstance(given, bool) else math.nan
        except (ValueError, OverflowError):
            number = math.nan
        if math.isnan(number):
            raise ValueError(f"give a number. Allowed are {self.allowed}.")
        if not self.lowest <= number <= self.highest:
            raise ValueError(f"{self.what}; give a number from {self.lowest:,g} to {self.highest:,g}.")
        return number

    def write(self, value: float) -> str:
        """The number in digits."""
        return f"{value:g}"


@dataclass(frozen=True, repr=False)
class Flag:
    """Yes or no."""

    @property
    def allowed(self) -> str:
        """Both words."""
        return "true or false"

    def read(self, given: object) -> bool:
        """Read one of the words that are common for it."""
        if isinstance(given, bool):
            return given
        word = str(given).lower()
        if word in {"true", "yes", "on", "1"}:
            return True
        if word in {"false", "no", "off", "0"}:
            return False
        raise ValueError("give true or false.")

    def write(self, value: bool) -> str:
        """The word."""
        return "true" if value else "false"


@dataclass(frozen=True, repr=False)
class Choice(Generic[WordT]):
    """One of a few words."""

    words: tuple[WordT, ...]

    @property
    def allowed(self) -> str:
        """The words."""
        return ", ".join(self.words[:-1]) + f" or {self.words[-1]}"

    def read(self, given: object) -> WordT:
        """Read one of the words, in whatever case."""
        for word in self.words:
            if word == str(given).lower():
                return word
        raise ValueError(f"give {self.allowed}.")

    def write(self, value: WordT) -> str:
        """The word."""
        return value


@dataclass(frozen=True, repr=False)
class Text:
    """Any text but an empty one."""

    allowed: str

    def read(self, given: object) -> str:
        """Read a text."""
        if not isinstance(given, str) or not given.strip():
            raise ValueError(f"give {self.allowed}.")
        return given

    def write(self, value: str) -> str:
        """The text."""
        return value


@dataclass(frozen=True, repr=False)
class HeaderText:
    """A text that can stand in a header of HTTP; a line break in it would begin another header."""

    longest: int

    @property
    def allowed(self) -> str:
        """The characters and their number."""
        return f"1 to {self.longest} printable characters of ASCII"

    def read(self, given: object) -> str:
        """Read a text, blanks around it aside."""
        text = given.strip() if isinstance(given, str) else ""
        if not 0 < len(text) <= self.longest or not text.isascii() or not text.isprintable():
            raise ValueError(f"give {self.allowed}.")
        return text

    def write(self, value: str) -> str:
        """The text."""
        return value


@dataclass(frozen=True, repr=False)
class FilePath:
    """Where a file or folder is."""

    allowed: str

    def read(self, given: object) -> Path:
        """Read a path; an empty one, such as an unset variable makes, would mean the present folder."""
        if not isinstance(given, str) or not given or "\0" in given:
            raise ValueError(f"give {self.allowed}.")
        return Path(given).expanduser()

    def write(self, value: Path) -> str:
        """The path."""
        return str(value)


@dataclass(frozen=True, repr=False)
class Maybe(Generic[T]):
    """What another kind takes, or a word for leaving it to the mill."""

    kind: Kind[T]
    word: str
    meaning: str

    @property
    def allowed(self) -> str:
        """Both."""
        return f"{self.kind.allowed}, or {self.word} for {self.meaning}"

    def read(self, given: object) -> T | None:
        """Read the word as None."""
        return None if given == self.word else self.kind.read(given)

    def write(self, value: T | None) -> str:
        """The value or the word."""
        return self.word if value is None else self.kind.write(value)


@dataclass(frozen=True, repr=False)
class Networks:
    """Networks, such as `10.0.0.0/8`: in a text apart by commas or spaces."""

    @property
    def allowed(self) -> str:
        """An example."""
        return "networks such as 10.0.0.0/8, 192.168.1.20 or fd00::/8, with commas between them; none for none"

    def read(self, given: object) -> tuple[Network, ...]:
        """Read networks from a text, or from a list of texts."""
        if isinstance(given, str):
            words: Sequence[object] = [] if given == "none" else [word for word in re.split(r"[,\s]+", given) if word]
        elif isinstance(given, list | tuple):
            words = given
        else:
            raise ValueError(f"give {self.allowed}.")
        return tuple(_network(word) for word in words)

    def write(self, value: tuple[Network, ...]) -> str:
        """The networks with commas between them."""
        return ",".join(map(str, value)) or "none"


def _network(word: object) -> Network:
    # Of a number ip_network would make an address.
    text = word if isinstance(word, str) else ""
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError(f"{named(word)}: {_network_hint(text)}") from None


def _network_hint(text: str) -> str:
    try:
        return f"the address has bits beyond the network's; {ip_interface(text).network} is likely meant."
    except ValueError:
        return "this is no network; write one like 10.0.0.0/8, 192.168.1.20 or fd00::/8."

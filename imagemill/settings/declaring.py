"""A setting as it is declared: as a field of its group, so that its value has a name and a type in the code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, TypeVar

from imagemill.settings.addresses import masked
from imagemill.settings.kinds import Kind

T = TypeVar("T")

PREFIX = "IMAGEMILL_"
_KEY = "setting"


@dataclass(frozen=True, eq=False, repr=False)
class Setting:
    """Everything that is known of a setting but its value."""

    name: str
    """Its name in files and in the code; in capitals behind `IMAGEMILL_` that of its variable."""
    kind: Kind[Any]
    default: Any
    """Its value when nobody says otherwise; `MISSING` where somebody has to."""
    help: str
    options: tuple[str, ...]
    """Its names on the command line, the first is the usual one; none where it is no option."""
    example: str
    """A value worth showing."""
    secret: bool
    """Whether it may hold a password, which is never shown."""
    fixed_because: str
    """Why it can't be changed while the mill runs; empty when it can."""

    @property
    def variable(self) -> str:
        """The environment variable."""
        return PREFIX + self.name.upper()

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is MISSING

    @property
    def changeable(self) -> bool:
        """Whether it can be changed while the mill runs."""
        return not self.fixed_because

    def show(self, value: object) -> str:
        """Return a value as people may see it."""
        text = self.kind.write(value)
        return masked(text) if self.secret else text

    @property
    def default_shown(self) -> str:
        """The default as people may see it; empty where there is none."""
        return "" if self.required else self.show(self.default)


def setting(
    kind: Kind[T],
    help: str,
    *,
    default: T = MISSING,  # type: ignore[assignment]  # the dataclass's own word for none
    options: tuple[str, ...] = (),
    example: str = "",
    secret: bool = False,
    fixed_because: str = "",
) -> T:
    """Declare a setting: the value of a field in a group. `help` is one or two sentences for its users."""
    facts = {
        "kind": kind,
        "help": help,
        "options": options,
        "example": example,
        "secret": secret,
        "fixed_because": fixed_because,
    }
    declared: T = field(default=default, kw_only=True, repr=not secret, metadata={_KEY: facts})
    return declared


def settings_of(group: type) -> Mapping[str, Setting]:
    """Return the settings of a group by name, as they are declared."""
    return {each.name: Setting(name=each.name, default=each.default, **each.metadata[_KEY]) for each in fields(group)}

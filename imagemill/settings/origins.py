"""Where a value comes from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Layer(StrEnum):
    """The sources of values; each takes precedence over those below it."""

    CHANGED = "changed"
    """By a call, while the mill ran."""
    COMMAND_LINE = "command line"
    ENVIRONMENT = "environment"
    FILE = "file"
    PROFILE = "profile"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Origin:
    """A source of a value, and the place in it."""

    layer: Layer
    place: str = ""
    """The option or variable, the file and line, or the profile; empty for defaults."""


DEFAULT = Origin(Layer.DEFAULT)
CHANGED = Origin(Layer.CHANGED)


@dataclass(frozen=True, slots=True)
class Given:
    """A value as somebody gave it, not yet read."""

    name: str
    value: object
    origin: Origin

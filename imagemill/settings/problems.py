"""What is wrong with settings, in words for whoever gave them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from imagemill.domain.quoting import quoted
from imagemill.settings.declaring import Setting
from imagemill.settings.origins import Given, Layer

LONGEST_VALUE = 80
"""Characters of a wrong value that are repeated."""


class SettingsError(Exception):
    """Settings can't be used; `problems` has a sentence on each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name is meant, when one is near."""
    from difflib import get_close_matches

    near = get_close_matches(name.replace("-", "_"), list(known), n=1)
    return f"did you mean {near[0]}?" if near else "imagemill settings lists them all."


def wrong_value(given: Given, setting: Setting, problem: str) -> str:
    """Say where a wrong value stands, what it is, and what to give instead."""
    place = given.origin.place
    value = _HIDDEN if setting.secret else _quoted(given.value) or "''"
    match given.origin.layer:
        case Layer.COMMAND_LINE if isinstance(given.value, tuple):
            # An option that was given several times; the problem names the one.
            return f"{place} {problem}"
        case Layer.COMMAND_LINE:
            return f"{place} {value}: {problem}"
        case Layer.ENVIRONMENT:
            return f"{place}={value}: {problem}"
        case _:
            return f"{place}: {given.name}: {value}: {problem}"


def missing(setting: Setting) -> str:
    """Say what is needed and how to give it."""
    return f"{setting.variable} is needed: {setting.help} Give {setting.kind.allowed}."


_HIDDEN = "***"


def _quoted(value: object) -> str:
    # Only what is short by its nature is written out: aliases in YAML make small files endless.
    endless = isinstance(value, int | Collection) and not isinstance(value, str)
    text = "".join(each if each.isprintable() else "�" for each in (quoted(value) if endless else str(value)))
    return text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + "…"

"""What somebody gave, repeated to them in a message: short and printable, whatever it is."""

from __future__ import annotations

from reprlib import Repr

_MOST_CHARACTERS = 80
_BRIEF = Repr()
# What a small file holds may be endless when written out: aliases in YAML multiply.
_BRIEF.maxlevel = 2
_BRIEF.maxlist = _BRIEF.maxtuple = _BRIEF.maxdict = _BRIEF.maxset = 4
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = _MOST_CHARACTERS


def quoted(value: object) -> str:
    """Return how Python writes `value`, shortened where it is long."""
    try:
        text = _BRIEF.repr(value)
    except ValueError:
        # Python writes no number of more than 4,300 digits.
        return "a number of thousands of digits"
    return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "…"


def named(key: object) -> str:
    """Return a mapping's key as it was written, if that can be shown in a line; else quoted."""
    return key if isinstance(key, str) and key.isprintable() and len(key) <= _MOST_CHARACTERS else quoted(key)

"""Colours as people write them: a name or hexadecimal digits."""

from __future__ import annotations

import re

from imagemill.domain.quoting import quoted

_HEX = re.compile(r"#(?:[0-9a-f]{3}|[0-9a-f]{6})")

COLOURS = {
    "black": "#000000",
    "silver": "#c0c0c0",
    "gray": "#808080",
    "grey": "#808080",
    "lightgray": "#d3d3d3",
    "lightgrey": "#d3d3d3",
    "darkgray": "#a9a9a9",
    "darkgrey": "#a9a9a9",
    "white": "#ffffff",
    "ivory": "#fffff0",
    "beige": "#f5f5dc",
    "maroon": "#800000",
    "red": "#ff0000",
    "orange": "#ffa500",
    "yellow": "#ffff00",
    "gold": "#ffd700",
    "olive": "#808000",
    "lime": "#00ff00",
    "green": "#008000",
    "teal": "#008080",
    "aqua": "#00ffff",
    "cyan": "#00ffff",
    "blue": "#0000ff",
    "navy": "#000080",
    "purple": "#800080",
    "fuchsia": "#ff00ff",
    "magenta": "#ff00ff",
    "pink": "#ffc0cb",
    "brown": "#a52a2a",
}
"""The names that are known, with CSS's values (CSS Color Module Level 4, section 6.1)."""


class ColourError(ValueError):
    """What was written is no colour; `problem` says so in a sentence."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


def parse_colour(value: object) -> str:
    """Give a colour as `#rrggbb`.

    Raises:
        ColourError: it is neither a known name nor `#rgb` nor `#rrggbb`.
    """
    if value is None:
        raise ColourError("it is empty; in YAML a colour that begins with # needs quotes around it")
    written = value.strip().lower() if isinstance(value, str) else ""
    if _HEX.fullmatch(written):
        return written if len(written) == 7 else "#" + "".join(digit * 2 for digit in written[1:])
    if written in COLOURS:
        return COLOURS[written]
    raise ColourError(f"{quoted(value)} is no colour; use a name like 'white' or digits like '#ffcc00'")


def rgb_of(colour: str) -> tuple[int, int, int]:
    """Give red, green and blue, 0 to 255, of a colour written `#rrggbb`."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)

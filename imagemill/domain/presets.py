"""The recipes that are known by name."""

from __future__ import annotations

from imagemill.domain.recipe import Format, Mode, Recipe, Variant

DEFAULT_PRESET = "standard"

_SIZES = {"thumbnail": 150, "medium": 600, "large": 1200}


def _fitted(name: str, side: int, format_: Format) -> Variant:
    return Variant(name=name, mode=Mode.INSIDE, format=format_, width=side, height=side)


PRESETS: dict[str, Recipe] = {
    "standard": Recipe(
        tuple(
            variant
            for name, side in _SIZES.items()
            for variant in (_fitted(name, side, Format.JPEG), _fitted(f"{name}-webp", side, Format.WEBP))
        )
    ),
    "half": Recipe((Variant(name="half", mode=Mode.SCALE, format=Format.SOURCE, scale=0.5),)),
    "dataset-256": Recipe((_fitted("fit-256", 256, Format.JPEG),)),
}
"""`standard`: three sizes as JPEG and WebP; `half`: half the width and height in the original's format;
`dataset-256`: one JPEG fitted inside 256 x 256."""

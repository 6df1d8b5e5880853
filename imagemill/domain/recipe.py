"""What is made of every original: a recipe of variants, read strictly and written canonically."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import TypeVar

from imagemill.domain.colours import ColourError, parse_colour
from imagemill.domain.quoting import named, quoted

ENGINE = 1
"""Raised when the same recipe would give other bytes than before, so that old renders are not taken for new ones."""

LARGEST_SIDE = 16383
"""The longest side of a render in pixels: WebP's limit, the lowest of the formats written."""
LARGEST_SCALE = 16.0
MOST_VARIANTS = 64

_NAME = re.compile(r"[a-z0-9_-]{1,32}")


class Mode(StrEnum):
    """How a picture is brought to the size asked for."""

    INSIDE = "inside"
    COVER = "cover"
    PAD = "pad"
    STRETCH = "stretch"
    SCALE = "scale"


class Format(StrEnum):
    """What a render is encoded as; `source` keeps the original's format where it can be written."""

    JPEG = "jpeg"
    WEBP = "webp"
    PNG = "png"
    AVIF = "avif"
    SOURCE = "source"


class Metadata(StrEnum):
    """What becomes of the original's metadata."""

    STRIP = "strip"
    KEEP = "keep"


class ColorProfile(StrEnum):
    """What becomes of colours that have an ICC profile."""

    CONVERT = "convert"
    """They are converted to sRGB, and renders carry no profile."""
    KEEP = "keep"
    """RGB stays as it is and its profile is handed on; what else there is (grey, CMYK, Lab) is converted."""


_DEFAULTS: dict[Format, dict[str, int | bool]] = {
    Format.JPEG: {"quality": 85, "progressive": False, "optimize": False},
    # Methods above 2 take more than twice as long for 11 % fewer bytes.
    Format.WEBP: {"quality": 80, "method": 2, "lossless": False},
    Format.PNG: {"optimize": False},
    # Speed 8 takes three times as long.
    Format.AVIF: {"quality": 60, "speed": 9},
}
_OPTIONS: dict[Format, frozenset[str]] = {
    **{format_: frozenset(options) for format_, options in _DEFAULTS.items()},
    Format.SOURCE: frozenset({"quality"}),
}
_EXTENSIONS = {Format.JPEG: "jpg", Format.WEBP: "webp", Format.PNG: "png", Format.AVIF: "avif"}


@dataclass(frozen=True, slots=True)
class Variant:
    """One render of every original; sizes in pixels. Options that are None take the encoder's default."""

    name: str
    mode: Mode
    format: Format
    width: int | None = None
    height: int | None = None
    scale: float | None = None
    upscale: bool = False
    background: str | None = None
    """`#rrggbb` under transparency and around a padded picture. None is white where a colour is needed, and
    keeps transparency where the format can hold it."""
    quality: int | None = None
    method: int | None = None
    speed: int | None = None
    progressive: bool | None = None
    optimize: bool | None = None
    lossless: bool | None = None

    def encoder_options(self, format_: Format) -> dict[str, int | bool]:
        """Give the options for encoding as `format_`, defaults filled in."""
        asked = {name: getattr(self, name) for name in _DEFAULTS[format_]}
        return {name: default if asked[name] is None else asked[name] for name, default in _DEFAULTS[format_].items()}

    def to_mapping(self) -> dict[str, object]:
        """Give the canonical mapping: defaults filled in, what does not apply left out."""
        options = {} if self.format is Format.SOURCE else self.encoder_options(self.format)
        if self.format is Format.SOURCE and self.quality is not None:
            options = {"quality": self.quality}
        mapping: dict[str, object] = {"name": self.name, "mode": self.mode.value, "format": self.format.value}
        mapping |= {name: getattr(self, name) for name in ("width", "height", "scale", "background")}
        mapping = {name: value for name, value in mapping.items() if value is not None}
        return mapping | {"upscale": self.upscale} | options


@dataclass(frozen=True, slots=True)
class Recipe:
    """The variants made of every original, in the order given."""

    variants: tuple[Variant, ...]
    metadata: Metadata = Metadata.STRIP
    color_profile: ColorProfile = ColorProfile.CONVERT

    @staticmethod
    def parse(mapping: object) -> Recipe:
        """Read a recipe strictly from a mapping, as a YAML, JSON or TOML file gives it.

        Raises:
            RecipeError: with every problem found, each with its field.
        """
        return _RecipeReader().read(mapping)

    def to_mapping(self) -> dict[str, object]:
        """Give the canonical mapping; `Recipe.parse` of it gives an equal recipe."""
        return {
            "variants": [variant.to_mapping() for variant in self.variants],
            "metadata": self.metadata.value,
            "color_profile": self.color_profile.value,
        }

    def to_json(self) -> str:
        """Give the canonical mapping as compact JSON with sorted keys."""
        return json.dumps(self.to_mapping(), sort_keys=True, separators=(",", ":"))

    def fingerprint(self) -> str:
        """Give 16 hexadecimal digits that are equal for recipes that make the same renders.

        The first 64 bits of the SHA-256 of the canonical JSON and of the engine's number.
        """
        return hashlib.sha256(f"{ENGINE}:{self.to_json()}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a recipe: `field` is a path like `variants[0].width`, empty for the whole."""

    field: str
    problem: str

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}" if self.field else self.problem


class RecipeError(ValueError):
    """A recipe cannot be used; `problems` has all there is to mend, in the recipe's order."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems


def output_format(variant: Variant, source_format: str) -> Format:
    """Give the format a variant is encoded as; `source` of a format that is not written becomes PNG."""
    if variant.format is not Format.SOURCE:
        return variant.format
    try:
        written = Format(source_format.lower())
    except ValueError:
        return Format.PNG
    return Format.PNG if written is Format.SOURCE else written


def extension(variant: Variant, source_format: str) -> str:
    """Give the file extension of a variant's render, without a dot."""
    return _EXTENSIONS[output_format(variant, source_format)]


def one_of(name: str, known: list[str]) -> str:
    """Say which names are known, the nearest to `name` first where one is near."""
    near = get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"


_Word = TypeVar("_Word", bound=StrEnum)


class _Fields:
    """The fields of one mapping, read one by one; what is wrong is noted and reading goes on."""

    def __init__(self, mapping: Mapping[str, object], path: str, problems: list[Problem]) -> None:
        self._mapping, self._path, self._problems = mapping, path, problems

    def has(self, name: str) -> bool:
        return name in self._mapping

    def note(self, name: str, problem: str) -> None:
        self._problems.append(Problem(f"{self._path}{name}", problem))

    def refuse_unknown(self, known: list[str]) -> None:
        for name in self._mapping:
            if name not in known:
                self.note(named(name), f"there is no such field; {one_of(named(name), known)}")

    def whole(self, name: str, lowest: int, highest: int) -> int | None:
        if not self.has(name):
            return None
        value = self._mapping[name]
        if isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest:
            return value
        self.note(name, f"{quoted(value)} is not a whole number from {lowest} to {highest}")
        return None

    def switch(self, name: str) -> bool | None:
        if not self.has(name):
            return None
        value = self._mapping[name]
        if isinstance(value, bool):
            return value
        self.note(name, f"{quoted(value)} is neither true nor false")
        return None

    def word(self, name: str, words: type[_Word], default: _Word) -> _Word:
        value = self._mapping.get(name, default)
        # Looked up as text only: the enum's own error would write out whatever it is given.
        given = value if isinstance(value, str) else ""
        try:
            return words(given)
        except ValueError:
            self.note(name, f"{quoted(value)} is not one of them; {one_of(given, [word.value for word in words])}")
            return default

    def factor(self, name: str) -> float | None:
        if not self.has(name):
            return None
        value = self._mapping[name]
        # Compared as it is: a whole number may be larger than any float.
        if isinstance(value, int | float) and not isinstance(value, bool) and 0.0 < value <= LARGEST_SCALE:
            return float(value)
        self.note(
            name, f"{quoted(value)} is not a number above 0, up to {LARGEST_SCALE:g}; 0.5 halves width and height"
        )
        return None

    def colour(self, name: str) -> str | None:
        if not self.has(name):
            return None
        try:
            return parse_colour(self._mapping[name])
        except ColourError as error:
            self.note(name, error.problem)
            return None

    def name(self) -> str:
        value = self._mapping.get("name")
        if isinstance(value, str) and _NAME.fullmatch(value):
            return value
        if not self.has("name"):
            self.note("name", "every variant needs a name; it becomes part of the file's name")
        else:
            self.note("name", f"{quoted(value)} is not 1 to 32 of the characters a-z, 0-9, - and _")
        return ""


_VARIANT_FIELDS = [
    *("name", "mode", "width", "height", "scale", "format", "background", "upscale"),
    *("quality", "method", "speed", "progressive", "optimize", "lossless"),
]


class _RecipeReader:
    def __init__(self) -> None:
        self._problems: list[Problem] = []

    def read(self, mapping: object) -> Recipe:
        if not isinstance(mapping, Mapping):
            raise RecipeError((Problem("", "a recipe is a mapping with the field 'variants'"),))
        fields = _Fields(mapping, "", self._problems)
        fields.refuse_unknown(["variants", "metadata", "color_profile"])
        metadata = fields.word("metadata", Metadata, Metadata.STRIP)
        color_profile = fields.word("color_profile", ColorProfile, ColorProfile.CONVERT)
        variants = self._variants(mapping.get("variants"))
        if self._problems:
            raise RecipeError(tuple(self._problems))
        return Recipe(variants, metadata, color_profile)

    def _variants(self, listed: object) -> tuple[Variant, ...]:
        if not isinstance(listed, list | tuple) or not 1 <= len(listed) <= MOST_VARIANTS:
            self._problems.append(Problem("variants", f"a list of 1 to {MOST_VARIANTS} variants is needed"))
            return ()
        variants = []
        seen: set[str] = set()
        for index, entry in enumerate(listed):
            path = f"variants[{index}]"
            if not isinstance(entry, Mapping):
                self._problems.append(Problem(path, "a variant is a mapping with at least a name and a size"))
                continue
            variant = _read_variant(_Fields(entry, f"{path}.", self._problems))
            if variant.name and variant.name in seen:
                self._problems.append(Problem(f"{path}.name", f"{variant.name!r} is the name of an earlier variant"))
            seen.add(variant.name)
            variants.append(variant)
        return tuple(variants)


def _read_variant(fields: _Fields) -> Variant:
    fields.refuse_unknown(_VARIANT_FIELDS)
    mode = fields.word("mode", Mode, Mode.SCALE if fields.has("scale") else Mode.INSIDE)
    format_ = fields.word("format", Format, Format.JPEG)
    _check_size_fields(fields, mode)
    _check_options(fields, format_)
    variant = Variant(
        name=fields.name(),
        mode=mode,
        format=format_,
        width=fields.whole("width", 1, LARGEST_SIDE),
        height=fields.whole("height", 1, LARGEST_SIDE),
        scale=fields.factor("scale"),
        upscale=fields.switch("upscale") or False,
        background=fields.colour("background"),
        quality=fields.whole("quality", 1, 100),
        method=fields.whole("method", 0, 6),
        speed=fields.whole("speed", 0, 10),
        progressive=fields.switch("progressive"),
        optimize=fields.switch("optimize"),
        lossless=fields.switch("lossless"),
    )
    if variant.scale is not None and variant.scale > 1.0 and not variant.upscale:
        fields.note("scale", f"{variant.scale:g} enlarges pictures; say 'upscale: true' if that is meant")
    return variant


def _check_size_fields(fields: _Fields, mode: Mode) -> None:
    if mode is Mode.SCALE:
        if not fields.has("scale"):
            fields.note("scale", "mode 'scale' needs it; 0.5 halves width and height")
        for name in ("width", "height"):
            if fields.has(name):
                fields.note(name, "mode 'scale' takes its size from 'scale'; leave it out or choose another mode")
        return
    if fields.has("scale"):
        fields.note("scale", f"mode '{mode}' takes its size from width and height; leave it out or use mode 'scale'")
    if mode is Mode.INSIDE:
        if not fields.has("width") and not fields.has("height"):
            fields.note("width", "mode 'inside' needs a width, a height or both")
        return
    for name in ("width", "height"):
        if not fields.has(name):
            fields.note(name, f"mode '{mode}' needs both width and height")


def _check_options(fields: _Fields, format_: Format) -> None:
    for name in ("quality", "method", "speed", "progressive", "optimize", "lossless"):
        if fields.has(name) and name not in _OPTIONS[format_]:
            owners = [other.value for other, options in _OPTIONS.items() if name in options]
            fields.note(name, f"format '{format_}' has no such option; it belongs to {', '.join(owners)}")

"""What a rendering process is asked and what it answers, and how both travel as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from imagemill.domain.failures import FailureCode, PermanentError, PipelineError, TransientError
from imagemill.domain.recipe import Recipe

MAX_PIXELS = 100_000_000
"""The default pixel budget of an original, over all its frames."""


@dataclass(frozen=True, slots=True)
class RenderJob:
    """One original to be rendered into all variants of a recipe.

    Only the first `size_bytes` bytes of the file at `path` are the picture: files are reused and may be
    longer. `outputs` names the file each variant is written to; no other job may name the same files.
    """

    path: str
    size_bytes: int
    format: str
    """The format the first bytes promise, in lower case."""
    recipe: Recipe
    outputs: Mapping[str, str]
    max_pixels: int = MAX_PIXELS

    def to_json(self, number: int) -> bytes:
        """Give the job as JSON, numbered so that its answer can be told."""
        asked = {
            "id": number,
            "path": self.path,
            "size_bytes": self.size_bytes,
            "format": self.format,
            "recipe": _text_of(self.recipe),
            "outputs": dict(self.outputs),
            "max_pixels": self.max_pixels,
        }
        return json.dumps(asked).encode()

    @staticmethod
    def from_mapping(asked: Mapping[str, Any]) -> RenderJob:
        """Read what `to_json` wrote."""
        return RenderJob(
            path=asked["path"],
            size_bytes=asked["size_bytes"],
            format=asked["format"],
            recipe=_recipe_of(asked["recipe"]),
            outputs=asked["outputs"],
            max_pixels=asked["max_pixels"],
        )


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What an original is; width and height as it is meant to be seen, its orientation applied."""

    format: str
    mode: str
    width: int
    height: int
    frames: int = 1
    exif: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Render:
    """One picture made, by the name of its variant."""

    name: str
    format: str
    extension: str
    width: int
    height: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Timings:
    """Time spent, in milliseconds; `resize_ms` has conversion, orientation and composition in it."""

    decode_ms: float
    resize_ms: float
    encode_ms: float
    cpu_ms: float
    """CPU time of all three; the others are wall time."""


@dataclass(frozen=True, slots=True)
class RenderResult:
    """All the renders of one original, what is known of it, and what a person might want to hear of."""

    source: SourceFacts
    renders: tuple[Render, ...]
    timings: Timings
    warnings: tuple[str, ...] = ()

    def to_mapping(self) -> dict[str, Any]:
        """Give what JSON can hold."""
        return {
            "source": _as_mapping(self.source),
            "renders": [_as_mapping(render) for render in self.renders],
            "timings": _as_mapping(self.timings),
            "warnings": self.warnings,
        }

    @staticmethod
    def from_mapping(answer: Mapping[str, Any]) -> RenderResult:
        """Read what `to_mapping` gave."""
        return RenderResult(
            source=SourceFacts(**answer["source"]),
            renders=tuple(Render(**render) for render in answer["renders"]),
            timings=Timings(**answer["timings"]),
            warnings=tuple(answer["warnings"]),
        )


def failure_mapping(error: PipelineError) -> dict[str, Any]:
    """Give an error as JSON can hold it."""
    failure = error.failure
    return {"code": failure.code.value, "message": failure.message, "transient": isinstance(error, TransientError)}


def error_of(mapping: Mapping[str, Any]) -> PipelineError:
    """Make the error again that `failure_mapping` was given."""
    family = TransientError if mapping["transient"] else PermanentError
    return family(FailureCode(mapping["code"]), mapping["message"])


def _as_mapping(facts: SourceFacts | Render | Timings) -> dict[str, Any]:
    # dataclasses.asdict copies deeply and costs ten times as much, for every picture.
    return {name: getattr(facts, name) for name in facts.__slots__}


@lru_cache(maxsize=16)
def _text_of(recipe: Recipe) -> str:
    return recipe.to_json()


@lru_cache(maxsize=16)
def _recipe_of(text: str) -> Recipe:
    return Recipe.parse(json.loads(text))

"""Recipes from the command line: a preset's name, or a file in YAML, JSON or TOML."""

from __future__ import annotations

from pathlib import Path

from imagemill.domain.presets import PRESETS
from imagemill.domain.recipe import Recipe, RecipeError, one_of
from imagemill.settings.documents import DocumentError, is_document, read_document


class RecipeFileError(Exception):
    """No recipe can be had from what was named; the text says what is wrong and where."""


def load_recipe(name_or_path: str) -> Recipe:
    """Give the preset of that name, or the recipe in that file (`.yaml`, `.yml`, `.json`, `.toml`).

    Raises:
        RecipeFileError: no such preset or file, or the file cannot be used; one line per problem.
    """
    if name_or_path in PRESETS:
        return PRESETS[name_or_path]
    path = Path(name_or_path)
    if not is_document(path):
        raise RecipeFileError(_not_a_recipe(name_or_path, path))
    try:
        return Recipe.parse(read_document(path).content)
    except DocumentError as error:
        raise RecipeFileError(str(error)) from error
    except RecipeError as error:
        raise RecipeFileError("\n".join(f"{path}: {problem}" for problem in error.problems)) from error


def _not_a_recipe(name: str, path: Path) -> str:
    if path.exists():
        return f"{name}: a recipe file must end in .yaml, .yml, .json or .toml"
    presets = ", ".join(PRESETS)
    hint = one_of(name, list(PRESETS))
    near = f" {hint[0].upper()}{hint[1:]}" if hint.startswith("did") else ""
    return f"{name!r} is neither a preset ({presets}) nor a recipe file (.yaml, .json, .toml).{near}"

"""Recipes from the command line: a preset's name, or a file in YAML, JSON or TOML."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from imagemill.domain.presets import PRESETS
from imagemill.domain.recipe import Recipe, RecipeError, one_of

if TYPE_CHECKING:
    from yaml import Node, ScalarNode


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
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise RecipeFileError(_not_a_recipe(name_or_path, path))
    content = read(path, _text_of(path))
    try:
        return Recipe.parse(content)
    except RecipeError as error:
        raise RecipeFileError("\n".join(f"{path}: {problem}" for problem in error.problems)) from error


def _not_a_recipe(name: str, path: Path) -> str:
    if path.exists():
        return f"{name}: a recipe file must end in .yaml, .yml, .json or .toml"
    presets = ", ".join(PRESETS)
    hint = one_of(name, list(PRESETS))
    near = f" {hint[0].upper()}{hint[1:]}" if hint.startswith("did") else ""
    return f"{name!r} is neither a preset ({presets}) nor a recipe file (.yaml, .json, .toml).{near}"


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise RecipeFileError(f"{path}: there is no such file") from error
    except UnicodeDecodeError as error:
        raise RecipeFileError(f"{path}: the file is not text in UTF-8") from error
    except OSError as error:
        raise RecipeFileError(f"{path}: the file cannot be read ({error.strerror})") from error


def _syntax_error(path: Path, language: str, line: int | None, problem: str) -> RecipeFileError:
    place = f"line {line}: " if line else ""
    return RecipeFileError(f"{path}: {place}this is not valid {language}: {problem}")


def _read_yaml(path: Path, text: str) -> object:
    import yaml

    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        for key in _repeated_keys(node):
            raise _given_twice(path, key.value, key.start_mark.line + 1)
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise _syntax_error(path, "YAML", line, error.problem or "it cannot be read") from error
    except yaml.YAMLError as error:
        raise _syntax_error(path, "YAML", None, "it cannot be read") from error


def _repeated_keys(root: Node) -> Iterator[ScalarNode]:
    """Find keys that stand in a mapping once more: YAML forbids them (1.2.2, 3.2.1.3), the library takes the last."""
    import yaml

    nodes, seen = [root], set[int]()
    while nodes:
        node = nodes.pop()
        if id(node) in seen:  # an alias, perhaps of what it stands in
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            nodes.extend(reversed(node.value))
        elif isinstance(node, yaml.MappingNode):
            keys = set[tuple[str, str]]()
            for key, value in node.value:
                nodes.append(value)
                if isinstance(key, yaml.ScalarNode):
                    if (key.tag, key.value) in keys:
                        yield key
                    keys.add((key.tag, key.value))


def _given_twice(path: Path, key: str, line: int | None = None) -> RecipeFileError:
    place = f"line {line}: " if line else ""
    return RecipeFileError(f"{path}: {place}{key!r} is given twice; keep one of them")


def _read_json(path: Path, text: str) -> object:
    import json

    def fields(pairs: list[tuple[str, object]]) -> dict[str, object]:
        mapping = dict[str, object]()
        for key, value in pairs:
            if key in mapping:
                raise _given_twice(path, key)
            mapping[key] = value
        return mapping

    try:
        return json.loads(text, object_pairs_hook=fields)
    except json.JSONDecodeError as error:
        raise _syntax_error(path, "JSON", error.lineno, error.msg) from error


def _read_toml(path: Path, text: str) -> object:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # The line is only in the text until Python 3.14.
        place = re.search(r"\(at line (\d+)", str(error))
        line = int(place.group(1)) if place else None
        raise _syntax_error(path, "TOML", line, str(error).split(" (at ")[0]) from error


_READERS: dict[str, Callable[[Path, str], object]] = {
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
    ".json": _read_json,
    ".toml": _read_toml,
}

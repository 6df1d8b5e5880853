"""Files that people write: YAML, TOML and JSON, read so that every complaint says where it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yaml import Node, SafeLoader, ScalarNode

Keys = tuple[str, ...]
"""The way to a value: the keys of the mappings that it lies in."""


_TOO_LONG = "a number in it has more digits than can be read"


class DocumentError(Exception):
    """The file can't be read; the text says what is wrong and where."""


@dataclass(frozen=True, eq=False, repr=False)
class Document:
    """What a file holds, and in which line; lines are known of YAML only."""

    content: object
    lines: Mapping[Keys, int] = field(default_factory=dict)


def is_document(path: Path) -> bool:
    """Whether the file's name says that it is YAML, TOML or JSON."""
    return path.suffix.lower() in _READERS


def read_document(path: Path) -> Document:
    """Read a file whose name ends in `.yaml`, `.yml`, `.toml` or `.json`.

    Raises:
        DocumentError: it can't be read, is not what its name says, or gives a key twice.
    """
    text = _text_of(path)
    try:
        return _READERS[path.suffix.lower()](path, text)
    except RecursionError as error:
        raise DocumentError(f"{path}: too many lists or mappings lie in one another") from error


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DocumentError(f"{path}: there is no such file") from error
    except UnicodeDecodeError as error:
        raise DocumentError(f"{path}: the file is not text in UTF-8") from error
    except OSError as error:
        raise DocumentError(f"{path}: the file cannot be read ({error.strerror})") from error


def _syntax_error(path: Path, language: str, line: int | None, problem: str) -> DocumentError:
    place = f"line {line}: " if line else ""
    return DocumentError(f"{path}: {place}this is not valid {language}: {problem}")


def _read_yaml(path: Path, text: str) -> Document:
    import yaml

    try:
        loader = _strict_loader()(text)
        node = loader.get_single_node()
        if node is None:
            return Document(None)
        for key in _repeated_keys(node):
            raise _given_twice(path, key.value, key.start_mark.line + 1)
        return Document(loader.construct_document(node), dict(_lines(node)))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise _syntax_error(path, "YAML", line, error.problem or "it cannot be read") from error
    except yaml.YAMLError as error:
        raise _syntax_error(path, "YAML", None, "it cannot be read") from error


@cache
def _strict_loader() -> type[SafeLoader]:
    import yaml

    class StrictLoader(yaml.SafeLoader):
        """Complains of every value that can't be read where it stands."""

        def construct_object(self, node: Node, deep: bool = False) -> object:
            try:
                return super().construct_object(node, deep)
            except (ValueError, LookupError, AttributeError) as error:
                # A date that no calendar has, a number of thousands of digits, a tag on what it does not fit.
                problem = "this value can't be read; a text needs quotation marks"
                raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error

    return StrictLoader


def _lines(node: Node, above: Keys = ()) -> Iterator[tuple[Keys, int]]:
    """Give the line of each key, two mappings deep: a file of settings has no deeper ones."""
    import yaml

    if isinstance(node, yaml.MappingNode) and len(above) <= 2:
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                keys = (*above, key.value)
                yield keys, key.start_mark.line + 1
                yield from _lines(value, keys)


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


def _given_twice(path: Path, key: str, line: int | None = None) -> DocumentError:
    place = f"line {line}: " if line else ""
    return DocumentError(f"{path}: {place}{key!r} is given twice; keep one of them")


def _read_json(path: Path, text: str) -> Document:
    import json

    def fields(pairs: list[tuple[str, object]]) -> dict[str, object]:
        mapping = dict[str, object]()
        for key, value in pairs:
            if key in mapping:
                raise _given_twice(path, key)
            mapping[key] = value
        return mapping

    try:
        return Document(json.loads(text, object_pairs_hook=fields))
    except json.JSONDecodeError as error:
        raise _syntax_error(path, "JSON", error.lineno, error.msg) from error
    except ValueError as error:
        raise DocumentError(f"{path}: {_TOO_LONG}") from error


def _read_toml(path: Path, text: str) -> Document:
    import tomllib

    try:
        return Document(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        # The line is only in the text until Python 3.14.
        place = re.search(r"\(at line (\d+)", str(error))
        line = int(place.group(1)) if place else None
        raise _syntax_error(path, "TOML", line, str(error).split(" (at ")[0]) from error
    except ValueError as error:
        raise DocumentError(f"{path}: {_TOO_LONG}") from error


_READERS: dict[str, Callable[[Path, str], Document]] = {
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
    ".json": _read_json,
    ".toml": _read_toml,
}

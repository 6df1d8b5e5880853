"""Nothing grows beyond what one reading takes in."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.guards.tree import name, python_files

LONGEST_FILE = 400
LONGEST_FUNCTION = 60


def test_every_file_is_short_enough_to_read() -> None:
    too_long = {
        name(path): lines
        for path in python_files()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST_FILE
    }

    assert too_long == {}


def test_every_function_is_short_enough_to_read() -> None:
    too_long = {place: lines for place, lines in functions() if lines > LONGEST_FUNCTION}

    assert too_long == {}


def functions() -> Iterator[tuple[str, int]]:
    """Yield the place and the length in lines of every function, its docstring counted."""
    for path in python_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                yield f"{name(path)}:{node.lineno} {node.name}", node.end_lineno - node.lineno + 1

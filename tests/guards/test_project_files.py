"""The files of the project hold on any machine, and every exception in them has its reason."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from tests.guards.tree import ROOT, files, name, python_files

_TEXT = {".py", ".pyi", ".md", ".toml", ".txt", ".proto", ".yaml", ".yml", ".sh", ".ini", ".sql", ".html", ""}
# A person's or a build machine's folder, at the start of an absolute path.
_SOMEONES_FOLDER = re.compile(r"(?<![\w.}*/-])/(?:home|root|Users|work|workspace|builds|opt)/[\w.]")
_INDEX = re.compile(r"(?:https?|file|git\+\w+)://|--(?:extra-)?index-url|--find-links|--trusted-host")
_BARE_IGNORE = re.compile(r"#\s*type:\s*ignore(?!\[[\w, -]+\]\s+#\s*\S)")
_BARE_NOQA = re.compile(r"#\s*noqa(?!: [A-Z]+\d+(?:, ?[A-Z]+\d+)*\s+(?:[#-]\s*)?\w)")
_LISTS = sorted((ROOT / "requirements").iterdir())


def places(pattern: re.Pattern[str], paths: Iterable[Path]) -> list[str]:
    """Return `file:line` of every line that `pattern` finds something in."""
    return [
        f"{name(path)}:{number}"
        for path in paths
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if pattern.search(line)
    ]


def test_no_file_names_a_folder_of_one_machine() -> None:
    assert places(_SOMEONES_FOLDER, (path for path in files() if path.suffix in _TEXT)) == []


def test_no_list_of_dependencies_names_an_index() -> None:
    assert places(_INDEX, _LISTS) == []


def test_every_locked_dependency_has_hashes() -> None:
    blocks = [
        block for path in _LISTS for block in re.split(r"\n(?=[a-z0-9])", path.read_text(encoding="utf-8").strip())
    ]

    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_the_dev_list_holds_the_runtime_and_the_build_list() -> None:
    pinned = {
        path.name: set(re.findall(r"^\S+==\S+", path.read_text(encoding="utf-8"), re.MULTILINE)) for path in _LISTS
    }

    assert pinned["runtime.txt"] | pinned["build.txt"] <= pinned["dev.txt"]


def test_every_silenced_check_is_named_and_has_a_reason() -> None:
    assert places(_BARE_IGNORE, python_files()) + places(_BARE_NOQA, python_files()) == []

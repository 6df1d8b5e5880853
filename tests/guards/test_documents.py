"""What the documents point at is there: files, headings, commands, options, make's targets and settings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest
from cyclopts import App

from imagemill.cli.app import app
from imagemill.settings.catalogue import GROUPS
from imagemill.settings.declaring import settings_of
from tests.guards.tree import ROOT, files, name

DOCUMENTS = [path for path in files() if path.suffix == ".md"]
_FENCE = re.compile(r"^( *)(```+|~~~+)")
_LINK = re.compile(r"\[[^\]\[]*(?:\[[^\]]*\][^\]\[]*)*\]\((?P<target>[^()\s]+)\)")
_INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_PROMPT = re.compile(r"^\s*\$ ")
_ENDS_A_COMMAND = re.compile(r"[|;&<>)]")
"""What stands behind it is another program's, or a file."""
_OF_OTHERS = {"--gate", "--runners", "--schema"}
"""Options that documents name by themselves, of `python -m benchmarks` and of `buf curl`."""


def lines(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield each line, and whether it stands in a block of code."""
    fence = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if found := _FENCE.match(line):
            fence = "" if fence else found[2]
        else:
            yield line, bool(fence)


def prose(path: Path) -> str:
    return "\n".join(line for line, is_code in lines(path) if not is_code)


@cache
def anchors(path: Path) -> set[str]:
    """Return what a link may name behind `#`: the headings, spelt as those who show Markdown spell them."""
    headings = [line.lstrip("#") for line, is_code in lines(path) if not is_code and re.match("#{1,6} ", line)]
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def dead_links(path: Path) -> list[str]:
    found = []
    for link in _LINK.finditer(_INLINE.sub("", prose(path))):
        target, _, anchor = link["target"].partition("#")
        if re.match("[a-z]+:", target):
            continue
        place = (path.parent / unquote(target)).resolve() if target else path
        if not place.exists() or (anchor and anchor not in anchors(place)):
            found.append(link["target"])
    return found


def written(path: Path, program: str) -> Iterator[list[str]]:
    """Yield the words behind `program` of each command line in code, cut where another program begins."""
    for line, is_code in lines(path):
        for code in [_PROMPT.sub("", line)] if is_code else _INLINE.findall(line):
            for found in re.finditer(rf"(?:^\s*|[($;|] ?|=\S+ |=\S+/|\.venv/bin/){program} (?P<rest>.*)", code):
                yield words(_ENDS_A_COMMAND.split(found["rest"], maxsplit=1)[0])


def words(text: str) -> list[str]:
    """Split as a shell would; a quote that was cut off with what follows ends with the text."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, "#"
    found: list[str] = []
    try:
        found.extend(lexer)
    except ValueError:
        found.append(lexer.token)
    return found


def lost_options(path: Path) -> list[str]:
    named = re.findall(r"(?<!`)`(--[a-z][a-z-]*)", prose(path))
    return [option for option in named if option not in set().union(_OF_OTHERS, *commands().values())]


@cache
def commands() -> dict[tuple[str, ...], set[str]]:
    """Return each command, `()` being the program without one, with its options in all their spellings."""
    return dict(_under((), app))


def _under(words: tuple[str, ...], chosen: App) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    arguments = chosen.assemble_argument_collection() if chosen.default_command else ()
    yield words, {"--help", "-h", "--version"}.union(*(argument.names for argument in arguments))
    for word in chosen:
        if not word.startswith("-"):
            yield from _under((*words, word), chosen[word])


def unknown(given: list[str]) -> list[str]:
    """Return the words of a command line that the command does not know."""
    command = max((known for known in commands() if known == tuple(given[: len(known)])), key=len)
    if not command and given and re.fullmatch("[a-z]+", given[0]):
        return [given[0]]
    spellings = [word.lstrip("[").partition("=")[0].rstrip("].,…") for word in given]
    return [word for word in spellings if re.match("--?[a-z]", word) and word not in commands()[command]]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    assert dead_links(document) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_command_is_one_with_options_that_it_has(document: Path) -> None:
    refused = {" ".join(given): bad for given in written(document, "imagemill") if (bad := unknown(given))}

    assert refused == {}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_option_that_is_named_by_itself_is_one_of_some_command(document: Path) -> None:
    assert lost_options(document) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_target_of_make_is_there(document: Path) -> None:
    targets = re.findall(r"^([a-z-]+) *:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = [given[0] for given in written(document, "make") if given]

    assert [target for target in named if target not in targets] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_variable_of_the_environment_is_a_setting(document: Path) -> None:
    known = {f"IMAGEMILL_{setting.upper()}" for group in GROUPS.values() for setting in settings_of(group)}
    named = re.findall(r"\bIMAGEMILL_[A-Z0-9_]*[A-Z0-9]\b", document.read_text(encoding="utf-8"))

    assert [
        variable
        for variable in named
        if variable not in known | {"IMAGEMILL_SETTINGS", "IMAGEMILL_PROFILE"}
        and not variable.startswith("IMAGEMILL_TEST")
    ] == []


def test_every_command_stands_in_the_reference() -> None:
    shown = [line for line in _reference("command").splitlines() if line.startswith("imagemill ")]

    assert [
        command for command in commands() if not any(set(command) <= set(re.findall(r"\w+", line)) for line in shown)
    ] == []


def test_every_option_stands_in_the_reference() -> None:
    text = _reference("command") + _reference("settings")
    spellings = {spelling for options in commands().values() for spelling in options}

    # What a switch is called when it is off follows from what it is called when it is on.
    assert [
        spelling for spelling in sorted(spellings) if re.match("--(?!no-)", spelling) and spelling not in text
    ] == []


def _reference(about: str) -> str:
    return (ROOT / "docs" / "reference" / f"{about}.md").read_text(encoding="utf-8")


def test_every_document_is_listed_where_readers_begin() -> None:
    listed = {
        (ROOT / start / link["target"].partition("#")[0]).parent.resolve()
        / Path(link["target"].partition("#")[0]).name
        for start in ("docs", "docs/adr")
        for link in _LINK.finditer(prose(ROOT / start / "README.md"))
    }  # fmt: skip

    missing = [name(path) for path in DOCUMENTS if (ROOT / "docs") in path.parents and path not in listed]
    assert [path for path in missing if not path.endswith("README.md")] == []


def test_control_what_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# A heading, with `code`\n\n```\n# no heading\n```\n", encoding="utf-8")
    document = tmp_path / "a.md"
    document.write_text(
        "[good](other.md#a-heading-with-code) [gone](gone.md) [no such heading](other.md#no-heading)\n"
        "Run `imagemill rnu x` with `--spede 3` or\n\n"
        "```\n$ imagemill run urls.txt -o out --speed 3 | jq -r .x\nmake tea\n```\n",
        encoding="utf-8",
    )

    assert dead_links(document) == ["gone.md", "other.md#no-heading"]
    assert [unknown(given) for given in written(document, "imagemill")] == [["rnu"], ["--speed"]]
    assert lost_options(document) == ["--spede"]
    assert list(written(document, "make")) == [["tea"]]

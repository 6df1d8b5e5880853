"""Where the list comes from: a file, standard input or the command line, read line by line and more than once.

Nothing is judged here but whether this is a list of URLs at all: bad lines go to the mill, which makes failed
items of them, so that none is lost on the way.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from imagemill.cli.exits import CommandError
from imagemill.cli.list_kinds import JUDGED, other_kind

LONGEST_LINE = 65_536
"""Characters; what is longer is cut. Far more than any URL that the mill takes, so a cut line fails anyway."""

LINES_JUDGED = 1000
LINES_QUOTED = 3

_SUBSTITUTE = "\x1a"
"""Stands for a byte that is not valid in the list's encoding. It is ASCII's character for that, and no URL may
hold it, so the line becomes a failed item whose message asks for percent-encoding."""
_UNDECODABLE = re.compile(r"[\udc80-\udcff]")
_LIKE_A_URL = re.compile(r"\s*https?:|(?!\s*[{\[]).*://", re.IGNORECASE)
"""What stands in braces or brackets is JSON, whatever it holds."""
_EXPECTED = "A list holds one http:// or https:// URL per line; blank lines and lines that start with # are left out."


@dataclass(frozen=True, slots=True)
class SourceLine:
    """One line that names a picture; `row` counts all lines of the list from 1, 0 where there are none."""

    row: int
    text: str


class SourceList(Protocol):
    """A list of pictures."""

    @property
    def name(self) -> str:
        """What the list is called, for people."""

    def lines(self) -> Iterator[SourceLine]:
        """Read the list from its start, in constant memory."""

    def start(self) -> bytes:
        """Return the first bytes, by which its kind can be told; none where there is no file."""

    def close(self) -> None:
        """Give up what was kept for reading again."""


class ListFile:
    """A text file of URLs."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    def lines(self) -> Iterator[SourceLine]:
        """Read the file.

        Raises:
            CommandError: the file can't be read.
        """
        try:
            with self._path.open("rb") as file:
                yield from _lines_of(file)
        except OSError as error:
            raise _unreadable(self._path, error) from error

    def start(self) -> bytes:
        """Read the first bytes."""
        try:
            with self._path.open("rb") as file:
                return file.read(JUDGED)
        except OSError as error:
            raise _unreadable(self._path, error) from error

    def close(self) -> None:
        """Do nothing: the file is open only while it is read."""


class SpooledInput:
    """A stream, kept in a nameless file of `folder` that is gone with the process, however it ends."""

    def __init__(self, stream: BinaryIO, folder: Path, name: str = "standard input") -> None:
        """Read the stream to its end. Raises `CommandError` when it can't be read, or not be kept."""
        self.name = name
        try:
            with ExitStack() as unkept:
                self._file = unkept.enter_context(tempfile.TemporaryFile(dir=folder))
                shutil.copyfileobj(stream, self._file)
                self._file.flush()
                unkept.pop_all()  # closed by close()
        except OSError as error:
            raise CommandError(
                f"{name} can't be kept in {folder} while it is read: {error.strerror or 'input/output error'}."
            ) from error

    def lines(self) -> Iterator[SourceLine]:
        """Read what came in."""
        self._file.seek(0)
        yield from _lines_of(self._file)

    def start(self) -> bytes:
        """Read the first bytes of what came in."""
        self._file.seek(0)
        return self._file.read(JUDGED)

    def close(self) -> None:
        """Drop what came in."""
        self._file.close()


class UrlArguments:
    """URLs given on the command line."""

    name = "command line"

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = tuple(urls)

    def lines(self) -> Iterator[SourceLine]:
        """Give the URLs in order."""
        for url in self._urls:
            yield SourceLine(0, _UNDECODABLE.sub(_SUBSTITUTE, url.strip()))

    def start(self) -> bytes:
        """Return nothing: there is no file."""
        return b""

    def close(self) -> None:
        """Do nothing."""


class RestOfList:
    """A list from one of its lines on; the lines keep their numbers."""

    def __init__(self, whole: SourceList, start_at: int) -> None:
        self.name = f"{whole.name} from line {start_at:,} on"
        self._whole = whole
        self._start_at = start_at

    def lines(self) -> Iterator[SourceLine]:
        """Read the list from the line on."""
        return (line for line in self._whole.lines() if line.row >= self._start_at)

    def start(self) -> bytes:
        """Return the first bytes of the whole list."""
        return self._whole.start()

    def close(self) -> None:
        """Give up what the list kept."""
        self._whole.close()


def open_sources(
    arguments: Sequence[str],
    spool_folder: Callable[[], Path],
    stdin: BinaryIO | None = None,
    *,
    start_at: int = 1,
) -> SourceList:
    """Give the list that the arguments of the command name; `spool_folder` is asked for only when it is needed.

    Raises:
        CommandError: they name no file, or can't be told to be URLs, which have no line to start at.
    """
    whole = _whole_list(arguments, spool_folder, stdin)
    if start_at <= 1:
        return whole
    if isinstance(whole, UrlArguments):
        raise CommandError("--start-at names a line of a list; URLs on the command line have none.")
    return RestOfList(whole, start_at)


def _whole_list(arguments: Sequence[str], spool_folder: Callable[[], Path], stdin: BinaryIO | None) -> SourceList:
    if not all(arguments) or not arguments:
        # An empty word is what the shell makes of a variable that is not set.
        raise CommandError("Say what to fetch: a list file, - for standard input, or URLs.")
    if list(arguments) == ["-"]:
        return SpooledInput(stdin or sys.stdin.buffer, spool_folder())
    strange = [argument for argument in arguments if not _LIKE_A_URL.match(argument)]
    if not strange:
        return UrlArguments(arguments)
    if len(arguments) > 1:
        raise CommandError(
            f"{strange[0]!r} is not a URL. Give either one list file, or - for standard input, or only URLs "
            "that start with http:// or https://."
        )
    return _list_file(arguments[0], spool_folder)


def _list_file(argument: str, spool_folder: Callable[[], Path]) -> SourceList:
    path = Path(argument)
    if path.is_dir():
        raise CommandError(f"{argument} is a folder; give a text file with one URL per line.")
    if not path.exists():
        raise CommandError(
            f"There is no file {argument}. If a URL is meant, write it with http:// or https:// in front."
        )
    return ListFile(path) if path.is_file() else _spooled(path, spool_folder())


def _spooled(path: Path, folder: Path) -> SpooledInput:
    # A pipe, such as the shell's <(…), can be read only once.
    try:
        with path.open("rb") as stream:
            return SpooledInput(stream, folder, str(path))
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> CommandError:
    return CommandError(f"{path} can't be read: {error.strerror or 'input/output error'}.")


def _lines_of(file: BinaryIO) -> Iterator[SourceLine]:
    # Universal newlines; a text layer of its own would close the file, hence detach.
    text = io.TextIOWrapper(file, encoding=_encoding_of(file), errors="surrogateescape", newline=None)
    try:
        for row, line in enumerate(_bounded(text), 1):
            content = line.strip()
            if content and not content.startswith("#"):
                yield SourceLine(row, _UNDECODABLE.sub(_SUBSTITUTE, content))
    except UnicodeDecodeError as error:
        raise CommandError("The list breaks off in the middle of a UTF-16 character; save it as UTF-8.") from error
    finally:
        text.detach()


def _encoding_of(file: BinaryIO) -> str:
    start = file.read(2)
    file.seek(-len(start), io.SEEK_CUR)
    # What PowerShell and old Windows editors call Unicode.
    return "utf-16" if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def _bounded(text: io.TextIOWrapper) -> Iterator[str]:
    while line := text.readline(LONGEST_LINE):
        rest = line
        while rest and not rest.endswith("\n"):
            rest = text.readline(LONGEST_LINE)
        yield line


@dataclass(frozen=True, slots=True)
class Survey:
    """What one reading of a list tells: its digest in hex and the number of lines that name a picture."""

    digest: str
    lines: int


class Digest:
    """The digest of a list as it is read: of rows and texts, so that another encoding makes no other list."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._lines = 0

    def reading(self, lines: Iterable[SourceLine]) -> Iterator[SourceLine]:
        """Yield `lines` unchanged, counting them in."""
        for line in lines:
            self._hash.update(f"{line.row}\t{line.text}\n".encode())
            self._lines += 1
            yield line

    def survey(self) -> Survey:
        """Tell what has been read so far."""
        return Survey(self._hash.hexdigest(), self._lines)


def survey(sources: SourceList) -> Survey:
    """Read the whole list once.

    Raises:
        CommandError: it can't be read, is empty, or nothing in its first lines looks like a URL.
    """
    digest, first, seems_right = Digest(), list[SourceLine](), False
    for number, line in enumerate(digest.reading(sources.lines())):
        if number < LINES_QUOTED:
            first.append(line)
        seems_right = seems_right or bool(_LIKE_A_URL.match(line.text))
        if number + 1 == LINES_JUDGED and not seems_right:
            break
    if not first:
        raise CommandError(f"There is nothing to do: {sources.name} holds no URL. {_EXPECTED}")
    if not seems_right:
        described = other_kind(sources.start()) or f"{_quoted(first)}\n{_EXPECTED}"
        raise CommandError(f"Nothing in {sources.name} looks like a URL. {described}")
    return digest.survey()


def _quoted(lines: list[SourceLine]) -> str:
    quotes = "".join(f"\n  line {line.row}: {_printable(line.text)}" for line in lines)
    return f"It begins with:{quotes}"


def _printable(text: str) -> str:
    shown = text if len(text) <= 80 else f"{text[:79]}…"
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in shown)

"""The options of the commands, checked before anything is touched."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from imagemill.cli.exits import CommandError
from imagemill.settings.groups import Calling, RunSettings, SubmitSettings, UpSettings
from imagemill.settings.loading import Resolved, Sources, load
from imagemill.settings.origins import Given, Layer, Origin
from imagemill.settings.problems import SettingsError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class MillOptions:
    """How a mill that the command opens works, and how much it says."""

    told: Sources = Sources()
    """What the command line says of settings, and where else to look for them."""
    quiet: bool = False
    verbose: bool = False


@dataclass(frozen=True, kw_only=True)
class RunOptions(MillOptions):
    """What `imagemill run` is asked for."""

    sources: tuple[str, ...]
    out: Path
    start_at: int = 1
    retry_failed: bool = False
    json: bool = False

    @property
    def state_folder(self) -> Path:
        """Where the mill keeps what it needs to go on."""
        return self.out / ".imagemill"

    def check(self) -> None:
        """Refuse what can't be meant. Raises `CommandError`."""
        refuse_unknown_options("run", self.sources)
        check_start(self.start_at)
        _ = self.settings

    @cached_property
    def settings(self) -> Resolved[RunSettings]:
        """The settings, and where each comes from; found when they are first asked for. Raises `CommandError`."""
        return load_settings(RunSettings, self.told)

    @property
    def values(self) -> RunSettings:
        """The settings."""
        return self.settings.values


@dataclass(frozen=True, kw_only=True)
class UpOptions(MillOptions):
    """What `imagemill up` is asked for."""

    @property
    def data(self) -> Path:
        """The folder for everything the mill keeps."""
        return self.settings.values.data or _data_home()

    @property
    def state_folder(self) -> Path:
        """Where the mill keeps its records and the stored pictures."""
        return self.data / "state"

    @property
    def pictures(self) -> Path:
        """Where each batch has a folder of its own with what its owner wants."""
        return self.data / "pictures"

    @property
    def log(self) -> Path:
        """The mill's log."""
        return self.settings.values.log_file or self.data / "mill.log"

    def check(self) -> None:
        """Refuse what can't be meant. Raises `CommandError`."""
        _ = self.settings

    @cached_property
    def settings(self) -> Resolved[UpSettings]:
        """The settings, and where each comes from; found when they are first asked for. Raises `CommandError`."""
        return load_settings(UpSettings, self.told)


@dataclass(frozen=True, kw_only=True)
class SubmitOptions:
    """What `imagemill submit` is asked for."""

    sources: tuple[str, ...]
    told: Sources = Sources()
    name: str = ""
    priority: int = 10
    batch_id: str = ""
    request_id: str = ""
    start_at: int = 1
    watch: bool = False
    json: bool = False

    def check(self) -> None:
        """Refuse what can't be meant. Raises `CommandError`."""
        refuse_unknown_options("submit", self.sources)
        check_start(self.start_at)
        _ = self.values
        check_range("--priority", self.priority, 1, 100, "weight against other batches")

    @cached_property
    def values(self) -> SubmitSettings:
        """The settings of the new batch, and where its mill is. Raises `CommandError`."""
        return load_settings(SubmitSettings, self.told).values


def check_range(option: str, value: float, lowest: int, highest: int, meaning: str) -> None:
    """Refuse a number outside of what is allowed. Raises `CommandError`."""
    if not lowest <= value <= highest:
        raise CommandError(f"{option} {value:g}: {meaning}; give a number from {lowest:,} to {highest:,}.")


def check_start(line: int) -> None:
    """Refuse a line before the first. Raises `CommandError`."""
    if line < 1:
        raise CommandError(f"--start-at {line}: lines are counted from 1.")


def refuse_unknown_options(command: str, sources: Sequence[str]) -> None:
    """Refuse a source that looks like an option. Raises `CommandError`."""
    # A lone hyphen is standard input, so the parser lets words with a hyphen through to here.
    for source in sources:
        if source.startswith("-") and source != "-":
            option = source.partition("=")[0]
            meant = _nearest_option(command, option)
            raise CommandError(f"Unknown option {option}.{meant} imagemill {command} --help lists them all.")


def _nearest_option(command: str, option: str) -> str:
    # Here, not above: only a mistake needs them, and the parser's module is built on this one.
    from difflib import get_close_matches

    from imagemill.cli.app import app

    arguments = app[command].assemble_argument_collection()
    near = get_close_matches(option, [spelling for argument in arguments for spelling in argument.names], n=1)
    return f" Did you mean {near[0]}?" if near else ""


def mill_at(to: str | None) -> str:
    """Return where the mill is: as `--to` says, else as the settings do. Raises `CommandError`."""
    said = () if to is None else (Given("to", to, Origin(Layer.COMMAND_LINE, "--to")),)
    return load_settings(Calling, Sources(said)).values.to


def to_reach(mill: str) -> str:
    """Return the words by which another command reaches the same mill; none when it looks there by itself."""
    return "" if mill == mill_at(None) else f" --to {mill}"


def _data_home() -> Path:
    # The XDG Base Directory Specification: a relative path is to be ignored.
    given = Path(os.environ.get("XDG_DATA_HOME", ""))
    return (given if given.is_absolute() else Path.home() / ".local" / "share") / "imagemill"


def load_settings(group: type[T], told: Sources) -> Resolved[T]:
    """Return a group's settings. Raises `CommandError` with all that is wrong with them."""
    try:
        return load(group, told)
    except SettingsError as error:
        raise CommandError("\n".join(error.problems)) from error

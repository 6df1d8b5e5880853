"""The options of the commands, checked before anything is touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from imagemill.cli.exits import CommandError
from imagemill.settings.groups import BatchSettings, MillSettings, RunSettings
from imagemill.settings.loading import Resolved, Sources, load
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

    data: Path
    listen: str

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
    def settings(self) -> Resolved[MillSettings]:
        """The settings, and where each comes from; found when they are first asked for. Raises `CommandError`."""
        return load_settings(MillSettings, self.told)


@dataclass(frozen=True, kw_only=True)
class SubmitOptions:
    """What `imagemill submit` is asked for."""

    sources: tuple[str, ...]
    to: str
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
    def values(self) -> BatchSettings:
        """The settings of the new batch. Raises `CommandError`."""
        return load_settings(BatchSettings, self.told).values


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
            raise CommandError(f"Unknown option {source}; imagemill {command} --help lists them all.")


def load_settings(group: type[T], told: Sources) -> Resolved[T]:
    """Return a group's settings. Raises `CommandError` with all that is wrong with them."""
    try:
        return load(group, told)
    except SettingsError as error:
        raise CommandError("\n".join(error.problems)) from error

"""The values of a group's settings: command line > environment > file > profile > defaults."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from imagemill.domain.quoting import named
from imagemill.settings.declaring import PREFIX, Setting, settings_of
from imagemill.settings.origins import DEFAULT, Given, Layer, Origin
from imagemill.settings.problems import SettingsError, missing, nearest, wrong_value
from imagemill.settings.profiles import PROFILES
from imagemill.settings.settings_file import WORDS, SettingsFile, found_in, read_settings_file

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

FILE_VARIABLE, PROFILE_VARIABLE = f"{PREFIX}SETTINGS", f"{PREFIX}PROFILE"
_OTHERS = f"{PREFIX}TEST_"
"""Variables of the test suite."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where values may come from, beside the defaults."""

    options: tuple[Given, ...] = ()
    """What the command line says."""
    file: str | None = None
    """The settings file that the command line names."""
    profile: str | None = None
    """The profile that the command line names."""
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    folder: Path | None = Path()
    """Where a settings file is looked for when none is named; nowhere if None."""


@dataclass(frozen=True, eq=False, repr=False)
class Row:
    """A setting with its value, fit to be shown."""

    setting: Setting
    shown: str
    origin: Origin | None
    """None where a value is needed and nobody has given one."""


@dataclass(frozen=True, slots=True)
class Resolved(Generic[T_co]):
    """The values of a group, and where each comes from."""

    values: T_co
    origins: Mapping[str, Origin]

    @property
    def rows(self) -> list[Row]:
        """Every setting of the group, as it is declared in order."""
        return [
            Row(setting, setting.show(getattr(self.values, name)), self.origins[name])
            for name, setting in settings_of(type(self.values)).items()
        ]


def defaults(group: type[T]) -> Resolved[T]:
    """Return a group with nothing said. Raises `TypeError` for one that needs something said."""
    return Resolved(group(), dict.fromkeys(settings_of(group), DEFAULT))


def load(group: type[T], sources: Sources | None = None) -> Resolved[T]:
    """Return the group's values.

    Raises:
        SettingsError: anything that is given has an unknown name or a value that is not allowed, whoever it is
            for, or something that is needed is missing. All of it is told at once.
    """
    found = gather(group, sources)
    needed = [missing(setting) for name, setting in settings_of(group).items() if name not in found]
    if needed:
        raise SettingsError(needed)
    values = group(**{name: value for name, (value, _) in found.items()})
    return Resolved(values, {name: origin for name, (_, origin) in found.items()})


def overview(group: type, sources: Sources | None = None) -> list[Row]:
    """Return the group's settings to be shown, those that are needed and missing too. Raises `SettingsError`."""
    found = gather(group, sources)
    return [
        Row(setting, setting.show(found[name][0]), found[name][1]) if name in found else Row(setting, "", None)
        for name, setting in settings_of(group).items()
    ]


def gather(group: type, sources: Sources | None = None) -> Mapping[str, tuple[Any, Origin]]:
    """Return those values of the group that there are, with their origins. Raises `SettingsError`."""
    declared = settings_of(group)
    found = _collect(sources or Sources())
    problems = found.problems
    read = {name: (each.default, DEFAULT) for name, each in declared.items() if not each.required}
    # The lowest layer first, so that higher ones prevail; all are judged, whether they prevail or not.
    for given in found.layers:
        value = _value(given, declared, problems)
        if given.name in declared:
            read[given.name] = value, given.origin
    for given in found.unused:
        _value(given, declared, problems)
    if problems:
        raise SettingsError(problems)
    return read


def _value(given: Given, declared: Mapping[str, Setting], problems: list[str]) -> Any:
    setting = declared.get(given.name) or _known(given.name)
    if setting is None:
        problems.append(_unknown(given))
        return None
    try:
        return setting.kind.read(given.value)
    except ValueError as error:
        problems.append(wrong_value(given, setting, str(error)))
        return None


def _known(name: str) -> Setting | None:
    # What most processes never hear of: the settings of the others.
    from imagemill.settings.catalogue import all_settings

    return all_settings().get(name)


def _unknown(given: Given) -> str:
    from imagemill.settings.catalogue import all_settings

    if given.origin.layer is Layer.ENVIRONMENT:
        known = [*(each.variable for each in all_settings().values()), FILE_VARIABLE, PROFILE_VARIABLE]
        return f"{given.origin.place}: there is no such setting; {nearest(given.origin.place, known)}"
    known = list(all_settings()) + list(WORDS)
    return f"{given.origin.place}: there is no setting {given.name!r}; {nearest(given.name, known)}"


@dataclass(frozen=True, eq=False, repr=False)
class _Collected:
    """Everything that is given: what counts, the lowest layer first, what does not, and what can't be read at all."""

    layers: Sequence[Given]
    unused: Sequence[Given]
    problems: list[str]


def _collect(sources: Sources) -> _Collected:
    problems: list[str] = []
    file, profile = None, list[Given]()
    try:
        file = _file(sources)
        profile = list(_profile(sources, file))
    except SettingsError as error:
        problems.extend(error.problems)
    in_file = () if file is None else file.given
    in_profiles = [given for each in (file.profiles.values() if file else ()) for given in each]
    unused = [given for given in in_profiles if given not in profile]
    return _Collected([*profile, *in_file, *_variables(sources.environ), *sources.options], unused, problems)


def _variables(environ: Mapping[str, str]) -> Iterable[Given]:
    for variable, value in sorted(environ.items(), reverse=True):
        # An empty variable is none, as compose files and shells pass on what was not set.
        ours = variable.startswith(PREFIX) and not variable.startswith(_OTHERS) and value
        if ours and variable not in {FILE_VARIABLE, PROFILE_VARIABLE}:
            name = variable.removeprefix(PREFIX).lower()
            yield Given(name, value, Origin(Layer.ENVIRONMENT, variable))


def _file(sources: Sources) -> SettingsFile | None:
    named = sources.file or sources.environ.get(FILE_VARIABLE)
    if named:
        return read_settings_file(Path(named), named)
    path = found_in(sources.folder) if sources.folder is not None else None
    return None if path is None else read_settings_file(path, path.name)


def _profile(sources: Sources, file: SettingsFile | None) -> Iterable[Given]:
    """Give what the chosen profile says."""
    own = {} if file is None else file.profiles
    chosen = _choice(sources, file)
    if chosen is None:
        return ()
    name, place = chosen
    if name in own:
        return own[name]
    if name in PROFILES:
        origin = Origin(Layer.PROFILE, name)
        return [Given(key, value, origin) for key, value in PROFILES[name].items()]
    known = sorted({*PROFILES, *own})
    raise SettingsError([f"{place} {named(name)}: there is no such profile; there are {', '.join(known)}."])


def _choice(sources: Sources, file: SettingsFile | None) -> tuple[str, str] | None:
    """Give the name of the chosen profile and who chose it."""
    if sources.profile:
        return sources.profile, "--profile"
    if variable := sources.environ.get(PROFILE_VARIABLE):
        return variable, f"{PROFILE_VARIABLE}:"
    if file is not None and file.profile:
        return file.profile, f"{file.place}: profile:"
    return None

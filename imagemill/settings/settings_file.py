"""The settings file: `imagemill.yaml`, `.toml` or `.json`, with values, profiles, and the profile to use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imagemill.domain.quoting import named
from imagemill.settings.documents import Document, DocumentError, Keys, is_document, read_document
from imagemill.settings.origins import Given, Layer, Origin
from imagemill.settings.problems import SettingsError

NAMES = ("imagemill.yaml", "imagemill.yml", "imagemill.toml", "imagemill.json")
_PROFILE, _PROFILES = "profile", "profiles"
WORDS = (_PROFILE, _PROFILES)
"""Keys of the file that are no settings."""


@dataclass(frozen=True, eq=False, repr=False)
class SettingsFile:
    """What a file says; names and values are not judged yet."""

    given: tuple[Given, ...]
    profile: str | None
    profiles: Mapping[str, tuple[Given, ...]]
    place: str
    """Where it names its profile."""


def found_in(folder: Path) -> Path | None:
    """Return the settings file that lies in a folder.

    Raises:
        SettingsError: there are several, so that it is not clear which is meant.
    """
    found = [folder / name for name in NAMES if (folder / name).is_file()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise SettingsError([f"{names} lie side by side: keep one of them, or name one with --settings."])
    return found[0] if found else None


def read_settings_file(path: Path, shown: str) -> SettingsFile:
    """Read a settings file, which messages call `shown`.

    Raises:
        SettingsError: it can't be read, or isn't made as a settings file is.
    """
    if not is_document(path):
        raise SettingsError([f"{shown}: a settings file must end in .yaml, .yml, .toml or .json."])
    try:
        document = read_document(path)
    except DocumentError as error:
        raise SettingsError([f"{error}."]) from error
    content = {} if document.content is None else document.content
    if not isinstance(content, Mapping):
        raise SettingsError([f"{shown}: give settings by name, such as downloads: 20."])
    reader = _Reader(shown, document)
    file = reader.read(content)
    if reader.problems:
        raise SettingsError(reader.problems)
    return file


class _Reader:
    def __init__(self, shown: str, document: Document) -> None:
        self._shown, self._lines = shown, document.lines
        self.problems: list[str] = []

    def read(self, content: Mapping[object, object]) -> SettingsFile:
        given = tuple(self._given(key, value, Layer.FILE) for key, value in content.items() if key not in WORDS)
        profile = content.get(_PROFILE)
        if profile is not None and not isinstance(profile, str):
            self.problems.append(f"{self._place((_PROFILE,))}: {_PROFILE}: give the name of a profile.")
            profile = None
        return SettingsFile(given, profile, self._profiles(content.get(_PROFILES)), self._place((_PROFILE,)))

    def _profiles(self, profiles: object) -> Mapping[str, tuple[Given, ...]]:
        if profiles is None:
            return {}
        if not isinstance(profiles, Mapping):
            self.problems.append(f"{self._place((_PROFILES,))}: {_PROFILES}: give settings by name of a profile.")
            return {}
        return {named(name): self._profile(named(name), values) for name, values in profiles.items()}

    def _profile(self, name: str, values: object) -> tuple[Given, ...]:
        if not isinstance(values, Mapping):
            place = self._place((_PROFILES, name))
            self.problems.append(f"{place}: {_PROFILES}.{name}: give settings by name, such as downloads: 20.")
            return ()
        return tuple(self._given(key, value, Layer.PROFILE, name) for key, value in values.items())

    def _given(self, key: object, value: object, layer: Layer, profile: str = "") -> Given:
        name = named(key)
        place = self._place((_PROFILES, profile, name) if profile else (name,))
        return Given(name, value, Origin(layer, f"{profile} ({place})" if profile else place))

    def _place(self, keys: Keys) -> str:
        line = self._lines.get(keys)
        return f"{self._shown}, line {line}" if line else self._shown

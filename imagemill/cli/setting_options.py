"""Settings as options of the command line: their words come from where the settings are declared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import make_dataclass
from typing import Annotated, Any

from cyclopts import Parameter, Token

from imagemill.settings.declaring import Setting, settings_of
from imagemill.settings.groups import RunSettings, SubmitSettings, UpSettings
from imagemill.settings.kinds import Flag, Networks
from imagemill.settings.loading import Sources
from imagemill.settings.origins import Given, Layer, Origin

SettingsPath = Annotated[
    str | None,
    Parameter(
        name="--settings",
        help="The settings file; imagemill.yaml, .toml or .json in this folder if not given. "
        "Example: --settings night.yaml",
    ),
]
ProfileName = Annotated[
    str | None,
    Parameter(
        name="--profile",
        help="Settings by one name: fast-download, seo, or a profile of the settings file. Example: --profile seo",
    ),
]


class SettingOptions:
    """What the command line says of a group's settings. Values are judged later, together with all others."""

    settings: str | None = None
    profile: str | None = None

    @property
    def sources(self) -> Sources:
        """Where the group's values are to be loaded from."""
        said = ((name, getattr(self, name)) for name in self.__annotations__)
        given = (_switched(name, value) if isinstance(value, bool) else value for name, value in said)
        return Sources(tuple(each for each in given if isinstance(each, Given)), self.settings, self.profile)


def asked(name: str, value: object) -> Given:
    """Return what the command line says of a setting when it names its option."""
    return Given(name, value, Origin(Layer.COMMAND_LINE, settings_of(RunSettings)[name].options[0]))


def _switched(name: str, on: bool) -> Given:
    # The parser asks no converter about a switch.
    said = asked(name, on)
    place = said.origin.place if on else f"--no-{said.origin.place.removeprefix('--')}"
    return Given(name, on, Origin(Layer.COMMAND_LINE, place))


def _options_of(group: type) -> Callable[[type[SettingOptions]], type[SettingOptions]]:
    """Give a class the options of a group's settings as fields, for the parser to fill."""
    columns: list[tuple[str, Any, Any]] = [
        (name, Annotated[_type_of(setting), _parameter(name, setting)], None)
        for name, setting in settings_of(group).items()
        if setting.options
    ]
    columns += [("settings", SettingsPath, None), ("profile", ProfileName, None)]

    def made(plain: type[SettingOptions]) -> type[SettingOptions]:
        # The parser takes a class of the standard library's for a plain value, and that is where it would be from.
        home = {"__module__": __name__, "__doc__": plain.__doc__}
        full = make_dataclass(
            plain.__name__, columns, bases=(plain,), namespace=home, eq=False, repr=False, kw_only=True
        )
        return Parameter(name="*")(full)

    return made


def _type_of(setting: Setting) -> Any:
    # The parser must know how many words an option takes; what is made of them is always one value that was given.
    if isinstance(setting.kind, Networks):
        return tuple[str, ...] | None
    return bool | None if isinstance(setting.kind, Flag) else str | None


def _parameter(name: str, setting: Setting) -> Parameter:
    def read(kind: type, tokens: Sequence[Token]) -> Given:
        words = tuple(token.value for token in tokens)
        token = tokens[-1]
        value = words if isinstance(setting.kind, Networks) else words[-1]
        return Given(name, value, Origin(Layer.COMMAND_LINE, token.keyword or setting.options[0]))

    def shown(value: object) -> str | None:
        return setting.default_shown or None

    example = " ".join((setting.options[0], setting.example)).strip()
    return Parameter(
        name=setting.options,
        converter=None if isinstance(setting.kind, Flag) else read,
        negative=None if isinstance(setting.kind, Flag) else "",
        help=f"{setting.help} Allowed: {setting.kind.allowed}. Example: {example}",
        show_default=shown,
    )


@_options_of(RunSettings)
class RunWords(SettingOptions):
    """What is said of the settings of `run`."""


@_options_of(UpSettings)
class UpWords(SettingOptions):
    """What is said of the settings of `up`."""


@_options_of(SubmitSettings)
class SubmitWords(SettingOptions):
    """What is said of the settings of `submit`."""

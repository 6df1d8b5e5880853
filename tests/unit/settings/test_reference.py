"""The reference of settings says of each what the code says."""

from __future__ import annotations

import pytest

from imagemill.cli.app import app
from imagemill.settings.catalogue import GROUPS
from imagemill.settings.declaring import Setting, settings_of
from imagemill.settings.profiles import PROFILES
from tests.guards.tree import ROOT

REFERENCE = ROOT / "docs" / "reference" / "settings.md"
TITLES = {
    "mill": "A mill: `run`, `up`",
    "gateway": "The gateway",
    "downloader": "The downloader",
    "processor": "The processor",
    "storage": "The storage service",
}


def row(setting: Setting, *, of_a_command: bool) -> str:
    """Return the line of a setting in the reference; services take none of theirs as an option."""
    options = ", ".join(f"`{option}`" for option in setting.options) or "\N{EN DASH}"
    default = "needed" if setting.required else f"`{setting.default_shown}`"
    running = "yes" if setting.changeable else f"no: {setting.fixed_because}"
    cells = [f"`{setting.name}`", options, default, setting.kind.allowed, running, setting.help]
    return f"| {' | '.join(cells if of_a_command else cells[:1] + cells[2:])} |"


def section(title: str) -> list[str]:
    """Return the lines of a section that are rows of its table."""
    text = REFERENCE.read_text(encoding="utf-8").partition(f"## {title}\n")[2].partition("\n## ")[0]
    return [line for line in text.splitlines() if line.startswith("| `")]


@pytest.mark.parametrize("group", GROUPS)
def test_each_setting_stands_in_the_reference_as_it_is_declared(group: str) -> None:
    declared = settings_of(GROUPS[group]).values()

    assert section(TITLES[group]) == [row(setting, of_a_command=group == "mill") for setting in declared]


@pytest.mark.parametrize("service", [group for group in GROUPS if group != "mill"])
def test_a_service_takes_none_of_its_settings_as_an_option(service: str) -> None:
    options = {name for argument in app[service].assemble_argument_collection() for name in argument.names}

    assert {name for name in options if name.startswith("--")} == {"--settings", "--profile"}


def test_the_profiles_stand_in_the_reference_as_they_are() -> None:
    rows = [
        f"| `{name}` | {', '.join(f'`{key}: {value}`' for key, value in values.items())} |"
        for name, values in PROFILES.items()
    ]

    assert section("Profiles") == rows

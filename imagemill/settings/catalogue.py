"""All settings that there are, whoever they are for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from imagemill.settings.declaring import Setting, settings_of
from imagemill.settings.groups import Calling, RunSettings, UpSettings
from imagemill.settings.service_groups import Downloader, Gateway, Processor, Storage


@dataclass(frozen=True, repr=False)
class CommandSettings(Calling, UpSettings, RunSettings):
    """All that the command itself can be told: a mill, and where the commands for its batches look for it."""


GROUPS: Mapping[str, type] = {
    "mill": CommandSettings,
    "gateway": Gateway,
    "downloader": Downloader,
    "processor": Processor,
    "storage": Storage,
}
"""Every group by the name of what it is for. One file and one environment may serve them all: each takes its own."""


@cache
def all_settings() -> Mapping[str, Setting]:
    """Return the settings of all groups by name; where several have one, it is the first's."""
    found: dict[str, Setting] = {}
    for group in GROUPS.values():
        for name, declared in settings_of(group).items():
            found.setdefault(name, declared)
    return found

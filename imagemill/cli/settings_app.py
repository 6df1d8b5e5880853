"""`imagemill settings` and `imagemill settings set`: what can be typed."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import App, Parameter

from imagemill.cli import arguments as a
from imagemill.cli.exits import CommandError
from imagemill.cli.setting_options import ProfileName, SettingsPath
from imagemill.settings.loading import Sources

Of = Annotated[
    Literal["mill", "gateway", "downloader", "processor", "storage"],
    Parameter(
        name="--of",
        help="Whose settings: a whole mill's (run, up), or one service's. Example: --of downloader",
    ),
]
RunningMill = Annotated[
    str | None,
    Parameter(
        name="--to",
        help="Show the settings of the mill that runs there. Example: --to 127.0.0.1:50051",
    ),
]
Assignments = Annotated[
    str, Parameter(name="assignment", help="A setting and its new value, NAME=VALUE. Example: downloads=20")
]

settings_app = App(
    name="settings",
    help="""Show every setting with its value and where that comes from.

A value is taken from the first of these that has one:
  the command line          --downloads 20
  the environment           IMAGEMILL_DOWNLOADS=20
  the settings file         downloads: 20
  the profile               --profile seo
  the default""",
    help_epilogue="""Examples:
  imagemill settings
  imagemill settings --profile fast-download
  imagemill settings --to 127.0.0.1:50051
  imagemill settings set downloads=20 log_level=debug""",
)


@settings_app.default
def show(
    *,
    to: RunningMill = None,
    of: Of = "mill",
    settings: SettingsPath = None,
    profile: ProfileName = None,
    output: a.Output = "text",
) -> int:
    """Show every setting with its value and where that comes from."""
    from imagemill.cli.settings_command import show_command, show_remote_command

    if to is None:
        return int(show_command(of, Sources(file=settings, profile=profile), output == "json"))
    if of != "mill" or settings is not None or profile is not None:
        raise CommandError("With --to the mill itself says what it was told; leave --of, --settings and --profile out.")
    return int(show_remote_command(to, output == "json"))


@settings_app.command(
    name="set",
    help_epilogue="""Examples:
  imagemill settings set downloads=20 per_host=4
  imagemill settings set log_level=debug --to 127.0.0.1:50051""",
)
def set_(*assignments: Assignments, to: a.To = None, output: a.Output = "text") -> int:
    """Change settings of a running mill, all or none of them.

    They stay changed until the mill ends; what is to last goes into a settings
    file. Of services by themselves, --to names the one that is to change.
    """
    from imagemill.cli.settings_command import set_command

    return int(set_command(assignments, to, output == "json"))

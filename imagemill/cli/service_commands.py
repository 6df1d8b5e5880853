"""The commands for whoever runs the services of a mill as processes of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from cyclopts import App

from imagemill.cli import arguments as a
from imagemill.cli.exits import CommandError
from imagemill.cli.setting_options import ProfileName, SettingsPath
from imagemill.settings.loading import Sources
from imagemill.settings.origins import Given, Layer, Origin

if TYPE_CHECKING:
    from imagemill.runtime.process import Work
    from imagemill.settings.groups import Logging

    GroupT = TypeVar("GroupT", bound=Logging)


def gateway(*, settings: SettingsPath = None, profile: ProfileName = None) -> int:
    """Run the gateway: it takes batches in and hands their items to the queues.

    Its settings come from the environment: IMAGEMILL_LISTEN,
    IMAGEMILL_BROKER_URL, IMAGEMILL_STORAGE_TARGET and others.
    imagemill settings --of gateway shows them all.
    """
    from gateway.process import NAME, work
    from imagemill.settings.service_groups import Gateway

    return _run(NAME, Gateway, work, Sources(file=settings, profile=profile))


def downloader(*, settings: SettingsPath = None, profile: ProfileName = None) -> int:
    """Run a downloader: it fetches pictures.

    Its settings come from the environment: IMAGEMILL_BROKER_URL,
    IMAGEMILL_BLOB_URL, IMAGEMILL_STORAGE_TARGET and others.
    imagemill settings --of downloader shows them all.
    """
    from downloader_svc.process import NAME, work
    from imagemill.settings.service_groups import Downloader

    return _run(NAME, Downloader, work, Sources(file=settings, profile=profile))


def processor(*, settings: SettingsPath = None, profile: ProfileName = None) -> int:
    """Run a processor: it renders pictures, in processes of its own.

    Its settings come from the environment: IMAGEMILL_BROKER_URL,
    IMAGEMILL_BLOB_URL, IMAGEMILL_STORAGE_TARGET and others.
    imagemill settings --of processor shows them all.
    """
    from imagemill.settings.service_groups import Processor
    from processor_svc.process import NAME, work

    return _run(NAME, Processor, work, Sources(file=settings, profile=profile))


def storage(*, settings: SettingsPath = None, profile: ProfileName = None) -> int:
    """Run the storage service: it alone reads and writes the database.

    Its settings come from the environment: IMAGEMILL_LISTEN,
    IMAGEMILL_BROKER_URL, IMAGEMILL_DATABASE_URL, IMAGEMILL_BLOB_URL and others.
    imagemill settings --of storage shows them all.
    """
    from imagemill.settings.service_groups import Storage
    from storage_svc.process import NAME, work

    return _run(NAME, Storage, work, Sources(file=settings, profile=profile))


def _run(name: str, group: type[GroupT], work: Work[GroupT], sources: Sources) -> int:
    from imagemill.runtime.process import run
    from imagemill.settings.problems import SettingsError

    try:
        return run(name, group, work, sources)
    except SettingsError as error:
        raise CommandError("\n".join(error.problems)) from error


def migrate(*, settings: SettingsPath = None, profile: ProfileName = None, output: a.Output = "text") -> int:
    """Bring the database (IMAGEMILL_DATABASE_URL) to this version's tables.

    Safe to repeat, and safe while services run: those that can't work on the
    tables wait. Says from which revision on versions can.
    """
    from imagemill.cli.parts import migrate_command

    return int(migrate_command(Sources(file=settings, profile=profile), as_json=output == "json"))


def doctor(
    *,
    to: a.To = None,
    settings: SettingsPath = None,
    profile: ProfileName = None,
    output: a.Output = "text",
) -> int:
    """Try every part of a mill, and say what is wrong and what to do.

    The parts: IMAGEMILL_BROKER_URL, IMAGEMILL_DATABASE_URL, IMAGEMILL_BLOB_URL,
    IMAGEMILL_STORAGE_TARGET, and the gateway, which --to names. Ends with 0 when
    all can be used, with 1 when anything is wrong or not named.
    """
    from imagemill.cli.doctor import doctor_command

    given = () if to is None else (Given("to", to, Origin(Layer.COMMAND_LINE, "--to")),)
    return int(doctor_command(Sources(given, settings, profile), as_json=output == "json"))


def collect(
    batch: a.BatchName,
    /,
    *,
    out: a.Out,
    to: a.To = None,
    settings: SettingsPath = None,
    profile: ProfileName = None,
) -> int:
    """Make the folder of a batch from the blob store of the services.

    The store (IMAGEMILL_BLOB_URL) must be a folder of this machine; for an object
    store there is imagemill items --links. It gets what run makes: pictures under
    readable names, manifest.csv and report.json. Done again, it adds what has been
    finished since.
    """
    from imagemill.cli.collect import collect_command

    return int(collect_command(batch, out, to, Sources(file=settings, profile=profile)))


def health(*, to: a.To = None, service: a.HealthName = "") -> int:
    """Ask a service whether it has all that it needs: the test for containers.

    Ends with 0 and SERVING, or with 1 and the reason. Every service answers at
    its IMAGEMILL_LISTEN.
    """
    from imagemill.cli.health import health_command

    return int(health_command(to, service))


dead_app = App(
    name="dead",
    help="Messages that nobody could deal with: what they are, and another try.",
    help_epilogue="Examples:\n  imagemill dead list\n  imagemill dead redrive",
)


@dead_app.command(name="list", help_epilogue="Examples:\n  imagemill dead list\n  imagemill dead list -o json | jq")
def dead_list(
    *, limit: a.Limit = 20, settings: SettingsPath = None, profile: ProfileName = None, output: a.Output = "text"
) -> int:
    """Show the messages that are buried at the broker (IMAGEMILL_BROKER_URL)."""
    from imagemill.cli.parts import dead_list_command

    return int(dead_list_command(Sources(file=settings, profile=profile), limit, as_json=output == "json"))


@dead_app.command(help_epilogue="Examples:\n  imagemill dead redrive")
def redrive(*, settings: SettingsPath = None, profile: ProfileName = None, output: a.Output = "text") -> int:
    """Put the buried messages back on their queues.

    One that still can't be dealt with is buried again.
    """
    from imagemill.cli.parts import redrive_command

    return int(redrive_command(Sources(file=settings, profile=profile), as_json=output == "json"))


SERVICE_COMMANDS: Sequence[tuple[Callable[..., int], str]] = (
    (gateway, "imagemill gateway\nIMAGEMILL_LISTEN=0.0.0.0:50051 imagemill gateway"),
    (downloader, "imagemill downloader\nIMAGEMILL_DOWNLOADS=100 imagemill downloader"),
    (processor, "imagemill processor\nIMAGEMILL_CHILDREN=4 imagemill processor"),
    (storage, "imagemill storage"),
    (migrate, "IMAGEMILL_DATABASE_URL=postgresql://mill@localhost/mill imagemill migrate"),
    (doctor, "imagemill doctor\nimagemill doctor -o json | jq 'select(.ok | not)'"),
    (collect, "IMAGEMILL_BLOB_URL=file:///srv/mill imagemill collect urls-3f9a -o pictures"),
    (health, "imagemill health\nimagemill health --to 127.0.0.1:50053"),
)
"""Each command with examples for its help, in the order in which one meets them."""

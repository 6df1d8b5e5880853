"""`imagemill collect`: the folder of a batch, as `imagemill run` makes it, out of a mill's blob store."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from imagemill.cli.batch_folder import BatchFolder
from imagemill.cli.exits import CommandError, ExitCode
from imagemill.cli.output_folder import refuse_foreign_results
from imagemill.cli.printing import print_text
from imagemill.cli.remote import ask, find_batch
from imagemill.client import MillClient
from imagemill.settings.loading import Sources, gather
from imagemill.settings.problems import SettingsError
from imagemill.settings.service_groups import Parts
from imagemill.v1.batch_pb2 import Batch
from imagemill.wiring.blobs import stored_file

MARK = ".collect-"
"""How files begin that are being written."""


def collect_command(word: str, out: Path, to: str | None, told: Sources) -> ExitCode:
    """Place every picture of a batch in `out`, and write its manifest and report; what others made there stays."""
    stored = partial(stored_file, _folder(told))

    async def collect(client: MillClient) -> str:
        batch = await find_batch(client, word)
        _refuse_another(out, batch)
        folder = BatchFolder(out, out, stored, batch, MARK)
        report = await folder.complete(client)
        return f"{batch.name}: {report.batch.progress.succeeded:,} of {report.batch.progress.total:,} items succeeded."

    refuse_foreign_results(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"{out} can't be used as a folder: {error.strerror}.") from error
    print_text(f"{ask(to, collect)}\nPictures: {out}")
    return ExitCode.OK


def _refuse_another(out: Path, batch: Batch) -> None:
    """Raise `CommandError` when `out` holds another batch, whose pictures would be taken for those of this one."""
    try:
        record = json.loads((out / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if (held := record.get("batch")) != batch.name:
        raise CommandError(f"{out} holds what became of {held}. Give {batch.name} another folder with --out.")


def _folder(told: Sources) -> Path:
    """Where the blobs lie. Raises `CommandError` unless that is a folder of this machine."""
    try:
        found = gather(Parts, told)
    except SettingsError as error:
        raise CommandError("\n".join(error.problems)) from error
    url = str(found["blob_url"][0]) if "blob_url" in found else ""
    if not url.startswith("file:"):
        raise CommandError(
            "Set IMAGEMILL_BLOB_URL to the folder with the mill's blobs, such as file:///srv/mill. "
            "When they are in an object store, imagemill items BATCH --links tells where to get them."
        )
    folder = Path(url.removeprefix("file://"))
    if not folder.is_dir():
        raise CommandError(f"{folder} (IMAGEMILL_BLOB_URL) is not a folder of this machine.")
    return folder

"""What the owner of a batch gets of it: pictures under readable names, `manifest.csv` and `report.json`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from imagemill.cli.exits import CommandError, ExitCode
from imagemill.cli.manifest import ManifestWriter
from imagemill.cli.pictures import PictureFolder
from imagemill.cli.records import report_record
from imagemill.client import MillClient
from imagemill.v1.batch_pb2 import Batch, Item
from imagemill.v1.batch_service_pb2 import BatchReport

GONE_FOR_GOOD = "A picture that was deleted there can't be had again: hand the list in as a new batch."
"""What to do when a stored picture is gone whose mill others use as well."""


class BatchFolder:
    """The folder `out` of one batch, a view of the mill's rows: what is missing there is made again from them.

    `scratch` is where files are written before they move to their place; their names begin with `mark`. `if_gone` says
    what to do when a stored picture is gone.
    """

    def __init__(
        self,
        out: Path,
        scratch: Path,
        blob_path: Callable[[str], Path],
        batch: Batch,
        mark: str = "",
        if_gone: str = GONE_FOR_GOOD,
    ) -> None:
        self._out = out
        self._scratch = scratch
        self._mark = mark
        self._batch = batch
        self._placing = asyncio.Lock()
        since = batch.create_time.ToNanoseconds() / 1e9
        self._pictures = PictureFolder(out, scratch / f"{mark}placing.tmp", blob_path, since, if_gone)

    async def place(self, items: Iterable[Item]) -> None:
        """Place the pictures of the succeeded among `items`. Raises `CommandError`."""
        async with self._placing:
            await asyncio.to_thread(self._pictures.place, items)

    async def complete(self, client: MillClient, beside: Mapping[str, object] = {}) -> BatchReport:
        """Place every picture that is missing, then write the manifest and the report, each in one step.

        What is `beside` the mill's own figures goes into the report, too.

        Raises:
            CommandError: the folder can't be written, or a stored picture is gone.
            MillError: the mill can't be asked.
        """
        # Asked for first: it must not tell a later end than that which the manifest's rows are of.
        report = await client.report(self._batch.name)
        await self._write_manifest(client)
        self._write_report({**report_record(report), **beside})
        return report

    async def _write_manifest(self, client: MillClient) -> None:
        path, temporary = self._out / "manifest.csv", self._scratch / f"{self._mark}manifest.csv.tmp"
        variants = [variant.name for variant in self._batch.recipe.variants]
        try:
            with ManifestWriter(path, temporary, variants) as manifest:
                async for page in client.item_pages(self._batch.name):
                    await self.place(page)
                    await asyncio.to_thread(manifest.write, page)
        except OSError as error:
            raise _unwritable(path, error) from error

    def _write_report(self, record: Mapping[str, object]) -> None:
        path, temporary = self._out / "report.json", self._scratch / f"{self._mark}report.json.tmp"
        try:
            text = json.dumps(record, ensure_ascii=False, indent=2)
            temporary.write_text(f"{text}\n", encoding="utf-8")
            temporary.replace(path)
        except OSError as error:
            raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> CommandError:
    return CommandError(
        f"{path} can't be written: {error.strerror or 'input/output error'}. "
        "What is finished is safe with the mill; once the cause is removed, run the same command again.",
        ExitCode.BROKEN,
    )

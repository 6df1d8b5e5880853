"""The output folder before anything is put into it: made, writable, and without results of somebody else's."""

from __future__ import annotations

import os
from pathlib import Path

from imagemill.cli.exits import CommandError
from imagemill.cli.options import RunOptions

_OWN_STARTS = {
    "manifest.csv": b"index,source,state,error_code,error_message,",
    "report.json": b'{\n  "batch": "batches/',
}
"""How our own files begin, in every version: a run after the state was deleted may replace them."""


def prepared_folder(options: RunOptions) -> Path:
    """Make the output folder with the folder of the mill's state in it, and return the latter.

    Raises:
        CommandError: it can't be made or written, or a first run would overwrite a file of somebody else's there.
    """
    # Before anything is made: the same command again must not take the folder for one of ours.
    _refuse_foreign_results(options)
    try:
        options.state_folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"--out {options.out} can't be used as a folder: {error.strerror}.") from error
    if not os.access(options.out, os.W_OK | os.X_OK) or not os.access(options.state_folder, os.W_OK | os.X_OK):
        raise CommandError(f"--out {options.out} can't be written; give another folder, or change its permissions.")
    return options.state_folder


def _refuse_foreign_results(options: RunOptions) -> None:
    if (options.state_folder / "mill.db").exists():
        return
    refuse_foreign_results(options.out)


def refuse_foreign_results(out: Path) -> None:
    """Raise `CommandError` when results that are not ours lie in a folder that ours are to be written to."""
    for name, start in _OWN_STARTS.items():
        path = out / name
        if os.path.lexists(path) and not _begins_with(path, start):
            raise CommandError(
                f"{path} was not made by imagemill, and would be overwritten. "
                "Give another folder with --out, or move it away."
            )


def _begins_with(path: Path, start: bytes) -> bool:
    try:
        # Opening a pipe would wait for its writer.
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(start)) == start
    except OSError:
        # What can't be read is not ours.
        return False

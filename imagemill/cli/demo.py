"""`imagemill demo`: a run to look at, on a server of its own with good pictures and some trouble."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagemill.cli.demo_plan import ALLOWED_NET, RETRIES, Line, plan
from imagemill.cli.exits import CommandError, ExitCode
from imagemill.cli.options import RunOptions
from imagemill.cli.output import tell, tell_error
from imagemill.cli.run import run_command
from imagemill.cli.setting_options import asked
from imagemill.domain.names import picture_name
from imagemill.domain.presets import DEFAULT_PRESET, PRESETS
from imagemill.settings.loading import Sources

MARKER = ".imagemill-demo.json"
"""Lists what a demo makes in its folder, so that the next one deletes that and nothing else."""

LIST = "urls.txt"
_FORMATS = ("jpeg", "webp")


def demo_command(out: Path, *, verbose: bool = False) -> ExitCode:
    """Run the demo in `out` and explain it; exit code 0 says that everything went as planned."""
    try:
        _clear(out)
        with _server() as port:
            return _show(out, plan(port), verbose)
    except CommandError as error:
        tell_error(error.message)
        return error.code


def _show(out: Path, lines: list[Line], verbose: bool) -> ExitCode:
    _prepare(out, lines)
    tell(f"A server on this machine offers {len(lines)} pictures, ten of them with something special about them.")
    tell(f"$ imagemill run {out / LIST} -o {out} --allow-net {ALLOWED_NET} --retries {RETRIES}\n")
    # Whatever else is set on this machine, the demo goes as planned.
    options = RunOptions(
        sources=(str(out / LIST),),
        out=out,
        told=Sources((asked("allow_nets", ALLOWED_NET), asked("retries", str(RETRIES))), environ={}, folder=None),
        verbose=verbose,
    )
    code = run_command(options)
    # Some lines are meant to fail, which makes 1 the right answer of the run itself.
    if code not in (ExitCode.OK, ExitCode.SOME_FAILED):
        return code
    surprises = compare(lines, read_manifest(out))
    tell(_explanation(out, lines, surprises))
    return ExitCode.SOME_FAILED if surprises else ExitCode.OK


def compare(lines: list[Line], rows: list[dict[str, str]]) -> list[str]:
    """Say which lines did not end as planned."""
    if len(rows) != len(lines):
        return [f"the manifest has {len(rows)} rows instead of {len(lines)}"]
    return [
        f"{line.text} ended as {row['state']} {row['error_code']}".rstrip()
        for line, row in zip(lines, rows, strict=True)
        if not _as_planned(line, row)
    ]


def _as_planned(line: Line, row: dict[str, str]) -> bool:
    state = "FAILED" if line.code else "SUCCEEDED"
    return (row["state"], row["error_code"]) == (state, line.code) and bool(row["duplicate_of"]) == line.duplicate


def read_manifest(out: Path) -> list[dict[str, str]]:
    """Read what the run wrote."""
    with (out / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _explanation(out: Path, lines: list[Line], surprises: list[str]) -> str:
    special = [(index, line) for index, line in enumerate(lines) if line.story]
    width = max(len(line.code) for _, line in special)
    return "\n".join(
        [
            "\nWhat was special:",
            *(f"  {index:06d}  {line.code or 'succeeded':<{width}}  {line.story}" for index, line in special),
            "",
            f"Look into {out}: six pictures of each good line, manifest.csv with a row for every line, report.json.",
            f"Your own list:  imagemill run urls.txt -o pictures{_verdict(surprises)}",
        ]
    )


def _verdict(surprises: list[str]) -> str:
    if not surprises:
        return ""
    return "\n\nNot everything went as planned:\n" + "\n".join(f"  {surprise}" for surprise in surprises)


def _clear(out: Path) -> None:
    """Delete what an earlier demo made in `out`.

    Raises:
        CommandError: the folder holds files and no demo made it.
    """
    if out.exists() and not out.is_dir():
        raise CommandError(f"{out} is not a folder; give another one with --out.")
    marker = out / MARKER
    if not marker.is_file():
        if out.is_dir() and any(out.iterdir()):
            raise CommandError(f"{out} holds files that no demo made; give another folder with --out.")
        return
    for name in _made_before(marker):
        (out / name).unlink(missing_ok=True)
    shutil.rmtree(out / ".imagemill", ignore_errors=True)


def _made_before(marker: Path) -> list[str]:
    try:
        names = json.loads(marker.read_text(encoding="utf-8"))["files"]
        # Names only: whatever wrote the marker, nothing outside the folder is ever deleted.
        return [name for name in names if name == Path(name).name and name not in ("", ".", "..")]
    except (ValueError, KeyError, TypeError) as error:
        raise CommandError(f"{marker} can't be read; delete {marker.parent} and start the demo again.") from error


def _prepare(out: Path, lines: list[Line]) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        # Before anything is made: a demo that is killed must be deletable too.
        (out / MARKER).write_text(json.dumps({"files": _files_of(lines)}, indent=0), encoding="utf-8")
        (out / LIST).write_text("# The list of the demo.\n" + "".join(f"{line.text}\n" for line in lines), "utf-8")
    except OSError as error:
        raise CommandError(f"{out} can't be written: {error.strerror}.") from error


def _files_of(lines: list[Line]) -> list[str]:
    variants = [variant.name for variant in PRESETS[DEFAULT_PRESET].variants]
    pictures = [
        picture_name(index, line.text, variant, format_)
        for index, line in enumerate(lines)
        if not line.code
        for variant in variants
        for format_ in _FORMATS
    ]
    return [LIST, "manifest.csv", "report.json", *pictures]


@contextmanager
def _server() -> Iterator[int]:
    """Run the demo's server and give its port."""
    server = subprocess.Popen(
        [sys.executable, "-m", "imagemill.cli.demo_server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # A Ctrl-C is for the run; the server ends with it.
        start_new_session=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    with server, server.stdin, server.stdout:
        port = server.stdout.readline().strip()
        if not port:
            raise CommandError("The demo's server did not start.", ExitCode.BROKEN)
        yield int(port)

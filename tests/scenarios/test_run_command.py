"""`imagemill run` as its user meets it: a real process, the whole mill in it, a real server that misbehaves."""

from __future__ import annotations

import csv
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import psutil
import pytest
from PIL import Image

from imagemill.cli.demo_pictures import jpeg, landscape
from tests.support.eventually import eventually_blocking
from tests.support.picture_server import (
    PictureServer,
    Reply,
    cut,
    html,
    picture,
    serve_in_thread,
    slow,
    stalled,
    status,
)

LONGEST_S = 60
TIMINGS = ("download_ms", "decode_ms", "resize_ms", "encode_ms", "store_ms")


@cache
def photo(number: int) -> bytes:
    return jpeg(landscape(number, 320, 240))


@pytest.fixture
def server() -> Iterator[PictureServer]:
    with serve_in_thread() as running:
        yield running


class Command:
    """The command with a list and an output folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.out = folder / "out"
        self.list = folder / "urls.txt"
        self._base = [sys.executable, "-m", "imagemill.cli", "run"]

    def arguments(self, *options: str, sources: tuple[str, ...] | None = None) -> list[str]:
        chosen = (str(self.list),) if sources is None else sources
        return [*self._base, *chosen, "-o", str(self.out), "--recipe", "dataset-256", "--retries", "1", *options]

    def run(
        self, *options: str, sources: tuple[str, ...] | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        arguments = self.arguments("--allow-net", "127.0.0.1/32", *options, sources=sources)
        return subprocess.run(arguments, input=stdin, capture_output=True, text=True, timeout=LONGEST_S, check=False)

    def start(self, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.arguments("--allow-net", "127.0.0.1/32", *options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def rows(self) -> list[dict[str, str]]:
        with (self.out / "manifest.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def pictures(self) -> list[Path]:
        return sorted(self.out.glob("0*"))


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


def good(server: PictureServer, number: int) -> list[str]:
    return [server.route(f"/good/{n}.jpg", picture(photo(n))) for n in range(number)]


def stuck_once(server: PictureServer, number: int) -> list[str]:
    """Make pictures that hang at the first request and come at the second."""
    return [
        server.route(f"/stuck/{n}.jpg", stalled(photo(100 + n), 50), picture(photo(100 + n))) for n in range(number)
    ]


def test_every_line_of_a_mixed_list_ends_right(server: PictureServer, command: Command) -> None:
    body = photo(1)
    expected = {
        server.route("/good.jpg", picture(body)): ("SUCCEEDED", ""),
        server.route("/missing.jpg", status(404)): ("FAILED", "SOURCE_NOT_FOUND"),
        server.route("/flaky.jpg", status(503), status(503), picture(photo(2))): ("SUCCEEDED", ""),
        server.route("/slow.jpg", slow(photo(3), 20_000)): ("SUCCEEDED", ""),
        server.route("/truncated.jpg", cut(photo(4), len(photo(4)) // 2)): ("FAILED", "CONTENT_TRUNCATED"),
        server.route("/empty.jpg", Reply(headers={"Content-Type": "image/jpeg"})): ("FAILED", "CONTENT_EMPTY"),
        server.route("/html.jpg", html()): ("FAILED", "CONTENT_IS_HTML"),
        server.route("/copy.jpg", picture(body)): ("SUCCEEDED", ""),
        "htp:/typo": ("FAILED", "SOURCE_INVALID"),
        server.url("/router.jpg", host="127.0.0.2"): ("FAILED", "ADDRESS_DENIED"),
    }
    command.list.write_text("# a comment\n\n" + "\n".join(expected))

    ended = command.run()

    assert (ended.returncode, ended.stderr) == (1, "")
    rows = command.rows()
    assert [row["source"] for row in rows] == list(expected)
    assert {row["source"]: (row["state"], row["error_code"]) for row in rows} == expected
    assert [row["duplicate_of"] for row in rows] == [""] * 7 + ["0"] + [""] * 2
    assert "Line 11" in rows[8]["error_message"]
    assert {row["fit-256"] for row in rows if row["fit-256"]} == {path.name for path in command.pictures()}


def test_pictures_are_what_the_recipe_asks_for(server: PictureServer, command: Command) -> None:
    command.list.write_text("\n".join(good(server, 3)))

    ended = command.run()

    assert (ended.returncode, ended.stderr) == (0, "")
    for path in command.pictures():
        with Image.open(path) as rendered:
            assert (rendered.format, rendered.size) == ("JPEG", (256, 192))
    report = json.loads((command.out / "report.json").read_text())
    assert report["counts"]["succeeded"] == report["counts"]["total"] == 3
    assert report["success_rate"] == 1.0


def test_urls_come_from_standard_input_and_from_the_command_line_too(server: PictureServer, tmp_path: Path) -> None:
    urls = good(server, 2)
    piped, typed = Command(tmp_path / "piped"), Command(tmp_path / "typed")

    assert piped.run(sources=("-",), stdin="\n".join(urls)).returncode == 0
    assert typed.run(sources=tuple(urls)).returncode == 0

    assert [row["source"] for row in piped.rows()] == [row["source"] for row in typed.rows()] == urls


def test_without_permission_a_private_address_is_never_dialled(server: PictureServer, command: Command) -> None:
    command.list.write_text("\n".join(good(server, 1)))

    ended = subprocess.run(command.arguments(), capture_output=True, text=True, timeout=LONGEST_S, check=False)

    assert ended.returncode == 1
    assert [row["error_code"] for row in command.rows()] == ["ADDRESS_DENIED"]
    assert server.connections == 0


def test_a_finished_run_is_not_run_again(server: PictureServer, command: Command) -> None:
    command.list.write_text("\n".join(good(server, 3)))
    command.run()
    before, asked = command.rows(), server.requests.total()

    ended = command.run()

    assert ended.returncode == 0
    assert "done already" in ended.stdout
    assert command.rows() == before
    assert server.requests.total() == asked


def test_json_lines_are_all_that_is_on_standard_output(server: PictureServer, command: Command) -> None:
    command.list.write_text("\n".join([*good(server, 3), server.route("/missing.jpg", status(404))]))

    ended = command.run("--json")

    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert {line["index"]: line["state"] for line in lines if line["type"] == "item"} == {
        0: "SUCCEEDED",
        1: "SUCCEEDED",
        2: "SUCCEEDED",
        3: "FAILED",
    }
    assert lines[-1] == {"type": "end", "exit_code": 1}
    assert ended.stderr == ""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_cleanly_and_the_same_command_goes_on(
    server: PictureServer, command: Command, number: signal.Signals, code: int
) -> None:
    # given a run of which some items are done and some hang
    finished, hanging = good(server, 4), stuck_once(server, 3)
    command.list.write_text("\n".join([*finished, *hanging]))
    running = command.start()
    eventually_blocking(lambda: len(command.pictures()) == 4 and server.open_now == 3, timeout_s=LONGEST_S)

    # when it is told to stop
    running.send_signal(number)
    out, err = running.communicate(timeout=2.5)

    # expect a clean end, and the same command to ask only for what was not done
    assert running.returncode == code
    assert err == "imagemill: Stopped: 4 of 7 done. Run the same command again to go on.\n"
    assert "Stopping" in out
    assert command.run().returncode == 0
    assert [row["state"] for row in command.rows()] == ["SUCCEEDED"] * 7
    assert [server.requests[f"/good/{n}.jpg"] for n in range(4)] == [1] * 4


def test_a_killed_run_leaves_nothing_behind_and_ends_like_an_undisturbed_one(
    server: PictureServer, tmp_path: Path
) -> None:
    # given a run that is killed in the middle
    killed, undisturbed = Command(tmp_path / "killed"), Command(tmp_path / "undisturbed")
    urls = [*good(server, 6), server.route("/missing.jpg", status(404)), *stuck_once(server, 3)]
    for one in (killed, undisturbed):
        one.list.parent.mkdir()
        one.list.write_text("\n".join(urls))
    running = killed.start()
    eventually_blocking(lambda: len(killed.pictures()) == 6 and server.open_now == 3, timeout_s=LONGEST_S)
    family = psutil.Process(running.pid).children(recursive=True)
    running.kill()
    running.communicate(timeout=5)

    # expect its children to end by themselves
    assert family
    eventually_blocking(lambda: not any(_works(child) for child in family), timeout_s=1.0)

    # when the same command is run again, and another one undisturbed
    assert killed.run().returncode == 1
    assert undisturbed.run().returncode == 1

    # expect the same manifest but for attempts and timings, and no temporary file
    assert _lasting(killed.rows()) == _lasting(undisturbed.rows())
    left = {path.name for path in (killed.out / ".imagemill").iterdir()}
    assert left == {path.name for path in (undisturbed.out / ".imagemill").iterdir()}
    assert not [path for path in (killed.out / ".imagemill").rglob("*") if "tmp" in path.name]


def _works(process: psutil.Process) -> bool:
    """Whether it runs; one that has ended and that nobody has asked for its code does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _lasting(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{name: cell for name, cell in row.items() if name not in ("attempts", *TIMINGS)} for row in rows]


def test_a_second_command_in_the_same_folder_is_turned_away(server: PictureServer, command: Command) -> None:
    command.list.write_text("\n".join(stuck_once(server, 1)))
    first = command.start()
    eventually_blocking(lambda: server.open_now == 1, timeout_s=LONGEST_S)

    second = command.run()
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=LONGEST_S)

    assert second.returncode == 2
    assert "Another imagemill is at work" in second.stderr


def test_a_reader_that_goes_away_does_not_stop_the_pictures(server: PictureServer, command: Command) -> None:
    command.list.write_text("\n".join(stuck_once(server, 1) + good(server, 3)))
    running = command.start("--json", "--timeout", "2")
    assert running.stdout is not None
    assert running.stderr is not None

    running.stdout.readline()
    running.stdout.close()

    assert running.wait(LONGEST_S) == 0
    assert running.stderr.read() == ""
    assert len(command.pictures()) == 4
    running.stderr.close()


@pytest.mark.parametrize("option", ["--json", "--verbose"])
def test_a_closed_standard_output_is_as_good_as_none(server: PictureServer, command: Command, option: str) -> None:
    command.list.write_text("\n".join(good(server, 2)))
    words = ["sh", "-c", 'exec "$@" >&- <&-', "sh", *command.arguments("--allow-net", "127.0.0.1/32", option)]

    ended = subprocess.run(words, stderr=subprocess.PIPE, text=True, timeout=LONGEST_S, check=False)

    assert ended.returncode == 0
    assert "Traceback" not in ended.stderr
    assert len(command.pictures()) == len(command.rows()) == 2


@pytest.mark.parametrize("options", [["--json"], []])
def test_a_full_standard_output_is_told_once_and_the_run_goes_on(
    server: PictureServer, command: Command, options: list[str]
) -> None:
    command.list.write_text("\n".join(good(server, 2)))
    words = command.arguments("--allow-net", "127.0.0.1/32", *options)

    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, timeout=LONGEST_S, check=False)

    assert ended.returncode == 0
    reason = os.strerror(errno.ENOSPC)
    assert ended.stderr == f"imagemill: Standard output can't be written ({reason}); the command goes on without it.\n"
    assert len(command.pictures()) == 2


def test_on_a_terminal_the_run_is_drawn_without_colour_when_asked(server: PictureServer, command: Command) -> None:
    command.list.write_text("\n".join([*good(server, 3), server.route("/missing.jpg", status(404))]))
    leader, terminal = os.openpty()
    running = subprocess.Popen(
        command.arguments("--allow-net", "127.0.0.1/32"),
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
        env=os.environ | {"NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(terminal)

    seen = _all_of(leader)

    assert running.wait(LONGEST_S) == 1
    assert "4/4" in seen
    assert "SOURCE_NOT_FOUND" in seen
    assert "\x1b[31m" not in seen
    assert "Traceback" not in seen
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l"), "the cursor is given back"


def _all_of(descriptor: int) -> str:
    seen = b""
    try:
        while piece := os.read(descriptor, 65536):
            seen += piece
    except OSError:
        pass  # Linux reports the end of a terminal as an input/output error
    os.close(descriptor)
    return seen.decode()


def test_help_and_version_come_at_once_and_load_nothing_heavy() -> None:
    script = (
        "import sys\nfrom imagemill.cli.app import app\n"
        "try:\n    app()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'grpc', 'sqlalchemy', 'aiohttp', 'PIL', 'pydantic'} & set(sys.modules)))"
    )
    for option in ("--help", "--version"):
        ended = subprocess.run(
            [sys.executable, "-c", script, option], capture_output=True, text=True, timeout=LONGEST_S, check=True
        )
        assert ended.stdout.splitlines()[-1] == "[]"


def test_the_demo_goes_as_planned_and_again(tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "imagemill.cli", "demo", "-o", str(tmp_path / "demo")]
    for _ in range(2):
        ended = subprocess.run(arguments, capture_output=True, text=True, timeout=LONGEST_S, check=False)

        assert (ended.returncode, ended.stderr) == (0, "")
        assert "What was special" in ended.stdout
    assert len(list((tmp_path / "demo").glob("0*"))) == 53 * 6

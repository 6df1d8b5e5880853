"""The commands that work with a running mill: what each says to people and to programs, and how it ends."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagemill.cli.app import run_words
from tests.support.eventually import eventually_blocking
from tests.support.picture_server import stalled, status
from tests.support.processes import Ended
from tests.support.serving_mill import IMAGEMILL, LONGEST_S, PHOTO, ServingMill, serving_mill

SMALL = ("--recipe", "dataset-256")
UNREACHABLE = "imagemill: No mill answers at 127.0.0.1:1. Start one with: imagemill up."


@pytest.fixture(scope="module")
def mill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingMill]:
    """A mill with `done-1`, of which an item has failed, and `stuck-1`, which does not end."""
    with serving_mill(tmp_path_factory.mktemp("mill")) as mill:
        mill.up()
        urls = [*mill.good(3), mill.server.route("/gone.jpg", status(404))]
        done = mill.ask("submit", mill.write_list("done.txt", urls), *SMALL, "--batch-id", "done-1", "--watch")
        assert done.code == 1, done.said
        stuck = [mill.server.route(f"/stuck/{n}.jpg", stalled(PHOTO, 50)) for n in range(2)]
        mill.ask("submit", mill.write_list("stuck.txt", stuck), *SMALL, "--batch-id", "stuck-1", "--name", "Stück")
        yield mill


class Here:
    """Does commands in this process, which costs far less than one of their own."""

    def __init__(self, mill: ServingMill, capsys: pytest.CaptureFixture[str]) -> None:
        self._mill = mill
        self._capsys = capsys

    def do(self, *words: str) -> Ended:
        """Do a command to its end."""
        code = run_words(words)
        said = self._capsys.readouterr()
        return Ended(code, said.out, said.err, 0.0)

    def ask(self, *words: str) -> Ended:
        """Do a command that asks the mill."""
        return self.do(*words, "--to", self._mill.to)

    def told(self, *words: str) -> list[dict[str, object]]:
        """Return what a command tells as JSON lines."""
        ended = self.ask(*words, "-o", "json")
        assert ended.code in (0, 1), ended.said
        return [json.loads(line) for line in ended.out.splitlines()]


@pytest.fixture
def here(mill: ServingMill, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    monkeypatch.setattr(gc, "freeze", lambda: None)
    return Here(mill, capsys)


def test_a_batch_handed_in_is_named_on_standard_output_and_nothing_else_is_there(mill: ServingMill) -> None:
    path = mill.write_list("Summer Photos.txt", mill.good(2, "summer"))

    first = mill.ask("submit", path, *SMALL)
    again = mill.ask("submit", path, *SMALL)

    assert (first.code, first.err) == (0, ""), first.said
    assert first.out.startswith("batches/summer-photos-")
    assert again.out == first.out
    assert again.err.startswith(f"imagemill: Handed in before as {first.out.strip()}: 2 items: ")
    assert "--batch-id" in again.err


def test_an_id_that_another_list_has_is_refused(mill: ServingMill, here: Here) -> None:
    ended = here.ask("submit", mill.write_list("other.txt", mill.good(1, "other")), *SMALL, "--batch-id", "done-1")
    assert ended.code == 2
    assert "--batch-id done-1 belongs to another list or recipe" in ended.err


def test_an_id_of_a_list_of_which_less_is_kept_is_refused(mill: ServingMill, here: Here) -> None:
    order = ("submit", mill.write_list("kept.txt", mill.good(1, "kept")), *SMALL, "--batch-id", "kept-1")
    assert here.ask(*order).code == 0
    assert "kept-1 is this list with another --keep-originals" in here.ask(*order, "--keep-undecodable").err


def test_what_comes_under_the_same_request_id_is_one_batch(mill: ServingMill, here: Here) -> None:
    path = mill.write_list("order.txt", mill.good(1, "order"))

    first, second = (here.ask("submit", path, *SMALL, "--request-id", "order-4711") for _ in range(2))

    assert first.out.startswith("batches/")
    assert second.out == first.out


def test_a_list_may_be_entered_at_a_line_and_keeps_its_numbers(mill: ServingMill, here: Here) -> None:
    path = mill.write_list("long.txt", ["# a comment", *mill.good(4, "long")])

    ended = here.ask("submit", path, *SMALL, "--start-at", "4", "--batch-id", "tail", "--watch")

    assert ended.code == 0, ended.said
    assert [item["source_row"] for item in here.told("items", "tail")] == [4, 5]


def test_a_list_comes_through_a_pipe_too(mill: ServingMill) -> None:
    urls = "\\n".join(mill.good(2, "piped"))

    ended = mill.run_in_shell(f"printf '{urls}' | $mill submit - --batch-id piped $to")

    assert (ended.returncode, ended.stdout) == (0, "batches/piped\n"), ended.stderr


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["submit", "nowhere.txt"], "There is no file nowhere.txt"),
        (["submit", "http://127.0.0.1/a.jpg", "--batch-id", "Ä"], "--batch-id: has 1 to 64 characters of a-z, 0-9"),
        (["submit", "http://127.0.0.1/a.jpg", "--priority", "101"], "--priority 101: weight against other batches"),
        (["submit", "http://127.0.0.1/a.jpg", "--start-at", "2"], "URLs on the command line have none"),
        (["submit", "http://127.0.0.1/a.jpg", "--recipe", "standart"], "Did you mean 'standard'?"),
        (["submit", "--bath-id", "x"], "Unknown option --bath-id"),
        (["get", "done-2"], "There is no batch done-2; imagemill list --to "),
        (["get", "batches/done-2"], "There is no batch done-2"),
        (["get", "Done 1"], "'Done 1' is no batch's name"),
        (["pause", "done-1"], "COMPLETED"),
        (["items", "done-1", "--error", "TIMEOUT"], "--error TIMEOUT: there is no such code. Did you mean"),
        (["items", "done-1", "--limit", "-1"], "--limit -1: give a number from 0"),
        (["watch"], "Say which batch"),
        (["get"], "Say which batch"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(here: Here, words: list[str], complaint: str) -> None:
    ended = here.ask(*words)

    assert ended.code == 2, ended.said
    assert complaint in ended.err
    assert ended.err.startswith("imagemill: ")
    assert ended.out == ""


def test_a_batch_is_known_by_its_name_its_id_and_a_beginning_that_only_it_has(mill: ServingMill, here: Here) -> None:
    for word in ("batches/done-1", "done-1", "don"):
        (batch,) = [json.loads(here.ask("get", word, "-o", "json").out)]
        assert batch["name"] == "batches/done-1"

    path = mill.write_list("twin.txt", mill.good(1, "twin"))
    for name in ("twin-a", "twin-b"):
        here.ask("submit", path, *SMALL, "--batch-id", name)
    ended = here.ask("get", "twin")

    assert ended.code == 2
    assert "twin may be twin-" in ended.err


def test_the_list_shows_every_batch_newest_first(here: Here) -> None:
    told = here.told("list", "--limit", "0")
    shown = here.ask("list", "--limit", "0").out.splitlines()

    assert [line.split()[0] for line in shown[1:]] == [str(batch["name"]).split("/")[1] for batch in told]
    assert [batch["name"] for batch in told][-2:] == ["batches/stuck-1", "batches/done-1"]
    assert shown[0].split() == ["BATCH", "NAME", "STATE", "DONE", "FAILED", "AGE"]
    assert shown[-1].split()[:5] == ["done-1", "done.txt", "completed", "4/4", "1"]
    assert "There are more" in here.ask("list", "--limit", "1").out
    assert len(here.told("list", "--limit", "1")) == 1


def test_a_batch_is_shown_with_all_that_was_asked_for(here: Here) -> None:
    shown = here.ask("get", "stuck-1").out
    told = json.loads(here.ask("get", "stuck-1", "-o", "json").out)

    assert "Name " in shown
    assert "Stück" in shown
    assert "active" in shown
    assert told["display_name"] == "Stück"
    assert (told["state"], told["counts"]["total"], told["priority"]) == ("ACTIVE", 2, 10)
    assert told["variants"] == ["fit-256"]
    assert told["ended_at"] is None


def test_items_are_listed_whole_by_state_and_by_error(here: Here) -> None:
    everything, failed = here.told("items", "done-1"), here.told("items", "done-1", "--state", "failed")
    by_error = here.told("items", "done-1", "--error", "SOURCE_NOT_FOUND")
    shown = here.ask("items", "done-1").out.splitlines()

    assert [item["index"] for item in everything] == [0, 1, 2, 3]
    assert failed == by_error == everything[3:]
    assert shown[0].split() == ["INDEX", "STATE", "ERROR", "SOURCE"]
    assert shown[4].split()[:3] == ["000003", "failed", "SOURCE_NOT_FOUND"]
    assert "404" in shown[5]
    assert len(here.told("items", "done-1", "--limit", "2")) == 2
    assert here.told("items", "done-1", "--state", "skipped") == []
    assert here.ask("items", "done-1", "--state", "skipped").out == "No item of the batch is like that.\n"


def test_the_report_says_what_became_of_a_batch(here: Here) -> None:
    shown, told = here.ask("report", "done-1").out, json.loads(here.ask("report", "done-1", "-o", "json").out)

    assert "4 items: 3 succeeded, 1 failed." in shown
    assert "SOURCE_NOT_FOUND" in shown
    assert told["errors"] == {"SOURCE_NOT_FOUND": 1}
    assert told["success_rate"] == 0.75


def test_a_batch_is_paused_taken_up_again_and_given_up(mill: ServingMill, here: Here) -> None:
    stuck = mill.server.route("/hang.jpg", stalled(PHOTO, 50))
    here.ask("submit", mill.write_list("hang.txt", [stuck]), *SMALL, "--batch-id", "hang")

    paused, paused_again = here.ask("pause", "hang"), json.loads(here.ask("pause", "hang", "-o", "json").out)
    resumed = here.ask("resume", "hang")
    cancelled = here.ask("cancel", "hang")
    watched = here.ask("watch", "hang")

    assert paused.out.startswith("hang (hang.txt) is paused; ")
    assert paused_again["state"] == "PAUSED"
    assert resumed.out.startswith("hang (hang.txt) is at work. 1 item: ")
    assert cancelled.out.startswith("hang (hang.txt) is given up; what is finished stays.")
    assert watched.code == 1, watched.said
    assert "1 item: 0 succeeded, 1 cancelled." in watched.out


def test_failed_items_are_tried_again_by_their_error(mill: ServingMill, here: Here) -> None:
    urls = [mill.server.route("/once.jpg", status(404))]
    here.ask("submit", mill.write_list("once.txt", urls), *SMALL, "--batch-id", "once", "--watch")

    none = here.ask("retry", "once", "--error", "READ_TIMEOUT")
    told = json.loads(here.ask("retry", "once", "--error", "SOURCE_NOT_FOUND", "-o", "json").out)
    here.ask("watch", "once")

    assert none.out == "Nothing of once (once.txt) that failed with READ_TIMEOUT can be tried again.\n"
    assert told["items_retried"] == 1
    assert here.told("items", "once")[0]["attempts"] == 2


def test_a_watch_tells_programs_every_item_and_the_end(here: Here) -> None:
    lines = here.told("watch", "done-1")

    finals = {line["index"]: line["state"] for line in lines if line["type"] == "item"}
    assert finals == {0: "SUCCEEDED", 1: "SUCCEEDED", 2: "SUCCEEDED", 3: "FAILED"}
    assert [line for line in lines if line["type"] == "batch"][-1]["state"] == "COMPLETED"
    assert lines[-1] == {"type": "end", "exit_code": 1}


def test_leaving_a_watch_leaves_the_batch_at_work(mill: ServingMill) -> None:
    watch = mill.start("watch", "stuck-1", "-o", "json")
    watch.wait_until(lambda: '"type":"batch"' in watch.out)

    watch.send(signal.SIGINT)
    ended = watch.ended(5.0)

    sentence = f"Left batches/stuck-1; the mill works on. To follow it again: imagemill watch stuck-1 --to {mill.to}"
    assert (ended.code, ended.err) == (130, f"imagemill: {sentence}\n")
    assert json.loads(ended.out.splitlines()[-1]) == {"type": "end", "exit_code": 130, "error": sentence}
    assert json.loads(mill.ask("get", "stuck-1", "-o", "json").out)["state"] == "ACTIVE"


def test_all_batches_are_followed_those_to_come_included(mill: ServingMill) -> None:
    lines, program = mill.start("watch", "--all"), mill.start("watch", "--all", "-o", "json")
    lines.wait_until(lambda: "stuck-1 (Stück): taken in, 2 items" in lines.out)
    program.wait_until(lambda: '"batches/stuck-1"' in program.out)

    mill.ask("submit", mill.write_list("late.txt", mill.good(2, "late")), *SMALL, "--batch-id", "late", "--watch")

    lines.wait_until(lambda: "late (late.txt): done, 2 items: 2 succeeded" in lines.out)
    eventually_blocking(lambda: '"batches/late","state":"COMPLETED"' in program.out, timeout_s=10.0)
    for each in (lines, program):
        each.send(signal.SIGINT)
        assert each.ended(5.0).code == 130
    assert "done-1" not in lines.out


@pytest.mark.parametrize(
    "words",
    [
        ["list"],
        ["get", "a"],
        ["items", "a"],
        ["report", "a"],
        ["pause", "a"],
        ["resume", "a"],
        ["cancel", "a"],
        ["retry", "a"],
        ["watch", "a"],
        ["watch", "--all"],
        ["submit", "http://127.0.0.1/a.jpg"],
    ],
)
def test_a_mill_that_does_not_answer_is_told_with_where_it_was_looked_for(here: Here, words: list[str]) -> None:
    # Nothing listens on the first port of a machine that runs no such service.
    ended = here.do(*words, "--to", "127.0.0.1:1")

    assert ended.code == 3, ended.said
    assert ended.err.startswith(UNREACHABLE)
    assert ended.out == ""


def test_an_address_that_is_none_is_refused(here: Here) -> None:
    ended = here.do("list", "--to", "localhost")

    assert ended.code == 2
    assert ended.err.startswith("imagemill: --to localhost: this is no address")


def test_a_server_that_is_no_mill_is_not_taken_for_one(mill: ServingMill, here: Here) -> None:
    ended = here.do("list", "--to", f"127.0.0.1:{mill.server.port}")

    assert ended.code == 3, ended.said
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("command", ["list", "items done-1", "watch done-1 -o json"])
def test_a_reader_that_has_seen_enough_ends_the_command_in_silence(mill: ServingMill, command: str) -> None:
    ended = mill.run_in_shell(f"$mill {command} $to | head -n 1")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(ended.stdout.splitlines()) == 1


@pytest.mark.parametrize("command", ["list $to", "get done-1 $to -o json", "--help", "completion bash"])
def test_an_output_that_cannot_be_written_is_told_and_is_a_failure(mill: ServingMill, command: str) -> None:
    ended = mill.run_in_shell(f"$mill {command} >/dev/full")

    assert ended.returncode == 74
    assert ended.stderr == f"imagemill: Standard output can't be written: {os.strerror(28)}.\n"


def test_names_in_any_script_pass_through_a_terminal_that_knows_only_ascii(mill: ServingMill) -> None:
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}

    shown = mill.run_in_shell("$mill get stuck-1 $to", env)
    told = mill.run_in_shell("$mill get stuck-1 -o json $to", env)

    assert (shown.returncode, shown.stderr) == (0, "")
    assert "St?ck" in shown.stdout
    assert json.loads(told.stdout)["display_name"] == "Stück"


@pytest.mark.parametrize("no_color", ["", "1"])
def test_on_a_terminal_a_table_has_colours_unless_they_are_not_wanted(mill: ServingMill, no_color: str) -> None:
    seen = _on_a_terminal([IMAGEMILL, "list", "--limit", "0", "--to", mill.to], no_color)

    assert "done-1" in seen
    assert ("\x1b[32mcompleted" in seen) is not bool(no_color)


def test_on_a_terminal_a_watch_is_drawn_and_gives_the_cursor_back(mill: ServingMill) -> None:
    seen = _on_a_terminal([IMAGEMILL, "watch", "done-1", "--to", mill.to], "1")

    assert "4/4" in seen
    assert "SOURCE_NOT_FOUND" in seen
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")
    assert "Traceback" not in seen


def _on_a_terminal(words: list[str], no_color: str) -> str:
    leader, terminal = os.openpty()
    env = os.environ | {"TERM": "xterm", "COLUMNS": "120", "NO_COLOR": no_color}
    running = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal, env=env)
    os.close(terminal)
    seen = b""
    try:
        while piece := os.read(leader, 65536):
            seen += piece
    except OSError:
        pass  # Linux reports the end of a terminal as an input/output error
    os.close(leader)
    running.wait(LONGEST_S)
    return seen.decode()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_what_completes_every_command(mill: ServingMill, shell: str) -> None:
    ended = mill.run_in_shell(f"$mill completion {shell}")

    assert ended.returncode == 0
    assert all(name in ended.stdout for name in ("submit", "--keep-originals", "retry"))


def test_bash_takes_the_completion(mill: ServingMill) -> None:
    ended = mill.run_in_shell('source <("$mill" completion bash) && complete -p imagemill')

    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_run_may_enter_its_list_at_a_line(mill: ServingMill, tmp_path: Path) -> None:
    path = mill.write_list("entered.txt", mill.good(4, "entered"))
    fixed = ("-o", str(tmp_path / "out"), *SMALL, "--allow-net", "127.0.0.0/8", "--start-at")

    ended, nothing = mill.begin("run", path, *fixed, "3").ended(), mill.begin("run", path, *fixed, "5").ended()

    assert ended.code == 0, ended.said
    assert "2 items: 2 succeeded." in ended.out
    assert (mill.server.requests["/entered/0.jpg"], mill.server.requests["/entered/2.jpg"]) == (0, 1)
    assert nothing.code == 2
    assert f"{path} from line 5 on holds no URL" in nothing.err

"""Ctrl-C in the thick of it, and what stands in the way of the same command: another mill, another list or recipe."""

from __future__ import annotations

import signal

import pytest

from tests.support import pictures
from tests.support.eventually import eventually_blocking
from tests.support.house import House
from tests.support.picture_server import slow, stalled
from tests.support.processes import Program

ITEMS = 150
PHOTO = pictures.jpeg()
LONGEST_STOP_S = 2.0


def slow_list(house: House, number: int = ITEMS) -> None:
    replies = [slow(pictures.numbered(PHOTO, n), len(PHOTO) * 8) for n in range(number)]
    house.write_list(house.server.route(f"/{n}.jpg", reply) for n, reply in enumerate(replies))


def wait_for_progress(house: House, running: Program, done: int) -> None:
    running.wait_until(lambda: len(house.truth().final) >= done)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_all_processes_in_the_thick_of_it_ends_within_two_seconds(
    house: House, number: signal.Signals, code: int
) -> None:
    # given a run with items done, items on their way and items not begun
    slow_list(house)
    running = house.start()
    wait_for_progress(house, running, ITEMS // 5)

    # when a terminal tells the whole group to stop
    running.send_group(number)
    ended = running.ended(5.0)

    # expect a quick end that says how to go on, with nothing left behind
    assert ended.code == code, ended.said
    assert ended.took_s <= LONGEST_STOP_S
    assert ended.err.endswith(f"of {ITEMS} done. Run the same command again to go on.\n")
    assert "Traceback" not in ended.said
    assert house.leftovers() == []
    truth, asked = house.truth(), house.requests()
    assert truth.counts == truth.counted
    assert 0 < len(truth.final) < ITEMS

    # and the same command to finish, asking again for nothing that was done
    assert house.run().code == 0
    assert len(house.manifest()) == ITEMS
    assert all(house.requests()[f"/{n}.jpg"] == asked[f"/{n}.jpg"] for n in truth.final)


def test_what_a_stop_hands_back_counts_no_attempt(house: House) -> None:
    slow_list(house, 90)
    for _ in range(2):
        running = house.start()
        wait_for_progress(house, running, len(house.truth().final) + 1)
        running.send(signal.SIGINT)
        assert running.ended(5.0).code == 130

    assert house.run().code == 0

    assert {row["attempts"] for row in house.manifest()} == {"1"}


def test_two_ctrl_c_in_a_row_end_it_without_a_traceback(house: House) -> None:
    house.write_list([house.server.route("/stuck.jpg", stalled(PHOTO, 50))])
    running = house.start()
    running.wait_until(lambda: house.server.open_now == 1)

    running.send(signal.SIGINT)
    running.send(signal.SIGINT)
    ended = running.ended(5.0)

    assert ended.code == 130, ended.said
    assert ended.err == "imagemill: Stopped: 0 of 1 done. Run the same command again to go on.\n"
    eventually_blocking(lambda: not running.family(), timeout_s=1.0)


def test_a_second_mill_on_the_same_folder_is_refused_and_disturbs_nothing(house: House) -> None:
    # given a mill at work, halted so that it can't end before the second one has looked
    slow_list(house, 40)
    first = house.start()
    first.wait_until(lambda: house.server.open_now > 0)
    first.send(signal.SIGSTOP)

    second = house.run()
    first.send(signal.SIGCONT)

    assert second.code == 2, second.said
    assert second.err.startswith("imagemill: Another imagemill is at work in ")
    assert first.ended().code == 0
    assert [row["state"] for row in house.manifest()] == ["SUCCEEDED"] * 40


def test_another_list_or_recipe_for_a_finished_folder_is_explained_and_changes_nothing(house: House) -> None:
    slow_list(house, 5)
    assert house.run().code == 0
    before, asked = house.manifest(), house.requests()

    recipe = house.run("--recipe", "half")
    slow_list(house, 6)
    longer = house.run()

    assert (recipe.code, longer.code) == (2, 2)
    assert "the recipe has changed (now half)" in recipe.err
    assert "the list has changed" in longer.err
    assert "with 5 entries, now" in longer.err
    assert (house.manifest(), house.requests()) == (before, asked)


def test_another_list_for_a_killed_run_is_explained_and_the_old_list_goes_on(house: House) -> None:
    slow_list(house)
    old = house.list.read_text(encoding="utf-8")
    running = house.start()
    wait_for_progress(house, running, 1)
    running.send(signal.SIGKILL)
    assert running.ended(5.0).code == -signal.SIGKILL

    house.list.write_text(old.replace("/0.jpg", "/other.jpg"), encoding="utf-8")
    changed = house.run()
    house.list.write_text(old, encoding="utf-8")
    again = house.run()

    assert changed.code == 2, changed.said
    assert "the list has changed" in changed.err
    assert again.code == 0, again.said
    assert house.requests()["/other.jpg"] == 0


def test_a_list_without_any_url_is_refused_and_quoted(house: House) -> None:
    house.write_list(["name,price", "boat,12", "tree,7"])

    ended = house.run()

    assert ended.code == 2, ended.said
    assert "looks like a URL" in ended.err
    assert "line 2: boat,12" in ended.err
    assert not house.out.exists()


def test_standard_input_goes_on_after_a_kill_when_it_is_given_again(house: House) -> None:
    slow_list(house, 60)
    given = house.list.read_bytes()
    running = house.start(sources=["-"], stdin=given)
    wait_for_progress(house, running, 1)
    running.send_group(signal.SIGKILL)
    assert running.ended(5.0).code == -signal.SIGKILL

    ended = house.start(sources=["-"], stdin=given).ended()

    assert ended.code == 0, ended.said
    assert "Going on: " in ended.out
    assert len(house.manifest()) == 60
    assert house.leftovers() == []

"""What failed can be tried again in the same folder, and nothing else is touched by it."""

from __future__ import annotations

from imagemill.domain.items import State
from tests.support import pictures
from tests.support.house import House
from tests.support.picture_server import picture, status

GOOD = pictures.jpeg(320, 240, seed=1)
LATE = pictures.jpeg(320, 240, seed=2)


def test_failed_items_are_tried_again_and_succeed_when_their_source_is_mended(house: House) -> None:
    good = house.server.route("/good.jpg", picture(GOOD))
    late = house.server.route("/late.jpg", status(404), picture(LATE))
    missing = house.server.route("/missing.jpg", status(404))
    house.write_list([good, late, missing, "no url"])
    assert house.run().code == 1
    assert [row["state"] for row in house.manifest()] == ["SUCCEEDED", "FAILED", "FAILED", "FAILED"]

    again = house.run("--retry-failed")

    assert again.code == 1
    assert "Trying 2 failed items again." in again.out
    rows = house.manifest()
    assert [row["state"] for row in rows] == ["SUCCEEDED", "SUCCEEDED", "FAILED", "FAILED"]
    assert [row["attempts"] for row in rows] == ["1", "2", "2", "0"]
    assert (rows[1]["error_code"], rows[2]["error_code"]) == ("", "SOURCE_NOT_FOUND")
    assert (house.out / rows[1]["fit-256"]).exists()
    assert house.requests() == {"/good.jpg": 1, "/late.jpg": 2, "/missing.jpg": 2}
    truth = house.truth()
    assert truth.counts == truth.counted
    assert house.report()["downloaded_bytes"] == len(GOOD) + len(LATE)


def test_a_network_that_was_refused_is_fetched_once_it_is_allowed(house: House) -> None:
    house.write_list([house.server.route("/lan.jpg", picture(GOOD))])
    assert house.start(allow="10.0.0.0/8").ended().code == 1
    assert house.manifest()[0]["error_code"] == "ADDRESS_DENIED"

    assert house.run("--retry-failed").code == 0

    assert house.truth().states == {0: State.SUCCEEDED}


def test_trying_again_what_did_not_fail_says_so_and_fetches_nothing(house: House) -> None:
    house.write_list([house.server.route("/good.jpg", picture(GOOD))])
    house.run()

    again = house.run("--retry-failed")

    assert again.code == 0
    assert "Nothing that failed can be tried again." in again.out
    assert house.requests() == {"/good.jpg": 1}

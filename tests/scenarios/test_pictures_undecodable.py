"""`--keep-undecodable`: what can't be decoded lies beside the pictures as it came, and nothing else does."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.support import pictures
from tests.support.eventually import eventually_blocking
from tests.support.house import House
from tests.support.picture_server import html, picture, stalled, status

GOOD = pictures.jpeg(seed=1)
HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(range(256)) * 40
HALF = pictures.jpeg(seed=2)[:-3000]
DAMAGED = pictures.png()[:200] + bytes(300) + pictures.png()[500:]
UNKNOWN = b"no format that anybody knows" * 100
ASIDE = {
    "000001-phone.heic": HEIC,
    "000002-half.jpg": HALF,
    "000003-damaged.png": DAMAGED,
    "000004-words.bin": UNKNOWN,
    "000007-again.heic": HEIC,
}


def mixed(house: House) -> None:
    route = house.server.route
    house.write_list(
        [
            route("/good.jpg", picture(GOOD)),
            route("/phone.jpg", picture(HEIC)),
            route("/half.jpg", picture(HALF)),
            route("/damaged.png", picture(DAMAGED, "image/png")),
            route("/words.exe", picture(UNKNOWN, "application/octet-stream")),
            route("/page.jpg", html()),
            route("/missing.jpg", status(404)),
            route("/again.heic", picture(HEIC)),
        ]
    )


def aside(house: House) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (house.out / "undecodable").iterdir()}


CODES = ["", "FORMAT_UNSUPPORTED", "CONTENT_TRUNCATED", "DECODE_FAILED", "NOT_AN_IMAGE", "CONTENT_IS_HTML"]
CODES += ["SOURCE_NOT_FOUND", "FORMAT_UNSUPPORTED"]


@pytest.mark.parametrize("more", [(), ("--keep-originals",)], ids=["slots", "originals kept"])
def test_what_cannot_be_decoded_is_put_aside_as_it_came(more: tuple[str, ...], house: House) -> None:
    mixed(house)

    ended = house.run("--retries", "0", "--keep-undecodable", "--json", *more)

    assert ended.code == 1, ended.said
    assert aside(house) == ASIDE
    rows = house.manifest()
    assert [row["error_code"] for row in rows] == CODES
    named = {f"undecodable/{name}" for name in ASIDE}
    assert {row["undecodable"] for row in rows} == named | {""}
    assert "HEIC" in rows[1]["error_message"]
    assert (rows[1]["format"], rows[1]["bytes"], rows[1]["http_status"]) == ("heic", str(len(HEIC)), "200")
    told = [json.loads(line) for line in ended.out.splitlines()]
    assert {name for line in told for name in said_aside(line)} == named
    assert house.leftovers() == []


def said_aside(line: dict[str, object]) -> list[str]:
    """The paths of undecodable files in a line of JSON, at whatever depth they stand."""
    items = line.get("items", [line.get("item", line)])
    assert isinstance(items, list)
    return [item["undecodable"] for item in items if isinstance(item, dict) and "undecodable" in item]


def test_nothing_is_put_aside_unless_it_is_asked_for(house: House) -> None:
    mixed(house)

    house.run("--retries", "0")

    assert not (house.out / "undecodable").exists()
    assert list((house.out / ".imagemill").rglob("*undecodable*")) == []
    assert [row["error_code"] for row in house.manifest()] == CODES
    assert {row["undecodable"] for row in house.manifest()} == {""}


def test_what_was_put_aside_survives_a_kill(house: House) -> None:
    mixed(house)
    urls = house.list.read_text(encoding="utf-8").splitlines()
    house.write_list([*urls, house.server.route("/stuck.jpg", stalled(GOOD, 100))])
    program = house.start("--retries", "0", "--keep-undecodable")
    eventually_blocking(lambda: len(house.truth().final) == len(urls), timeout_s=20.0)
    program.send_group(signal.SIGKILL)
    assert program.ended(5.0).code == -signal.SIGKILL
    before = house.requests()
    for path in [*(house.out / "undecodable").glob("*")]:
        path.unlink()
    house.server.route("/stuck.jpg", picture(GOOD))

    ended = house.run("--retries", "0", "--keep-undecodable")

    assert ended.code == 1, ended.said
    assert aside(house) == ASIDE
    assert (house.requests() - before).keys() == {"/stuck.jpg"}


def test_what_stands_in_the_way_of_the_folder_is_said(house: House, tmp_path: Path) -> None:
    mixed(house)
    house.out.mkdir()
    (house.out / "undecodable").write_text("a file of somebody's", encoding="utf-8")

    ended = house.run("--retries", "0", "--keep-undecodable")

    assert ended.code not in (0, 1)
    assert "undecodable/000001-phone.heic" in ended.said
    assert (house.out / "undecodable").read_text(encoding="utf-8") == "a file of somebody's"

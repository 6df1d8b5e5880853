"""One list with everything in it that a list has in life: each row of the manifest says what became of its line."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pytest
from PIL import Image

from tests.support import pictures
from tests.support.house import House
from tests.support.picture_server import Reply, cut, html, picture, slow, status

GOOD = pictures.jpeg(800, 400, seed=1)
CLEAR = pictures.png(300, 600, seed=2)
SHARED = pictures.jpeg(640, 480, seed=3)
LATE = pictures.jpeg(640, 480, seed=4)
HALF = pictures.jpeg(640, 480, seed=5)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the list, and its row as it must be; no size means no picture."""

    path: str
    replies: tuple[Reply, ...]
    state: str
    code: str = ""
    status: str = ""
    attempts: str = "1"
    requests: int = 1
    original: bytes = b""
    size: tuple[int, int] | None = None
    duplicate_of: str = ""


LINES = [
    Line("/good.jpg", (picture(GOOD),), "SUCCEEDED", "", "200", original=GOOD, size=(256, 128)),
    Line("/missing.jpg", (status(404),), "FAILED", "SOURCE_NOT_FOUND", "404"),
    Line("/first.jpg", (picture(SHARED),), "SUCCEEDED", "", "200", original=SHARED, size=(256, 192)),
    # Two answers of 503 are overcome on the spot, within one attempt.
    Line(
        "/flaky.png", (status(503), status(503), picture(CLEAR, "image/png")),
        "SUCCEEDED", "", "200", requests=3, original=CLEAR, size=(128, 256),
    ),
    Line("/slow.jpg", (slow(LATE, len(LATE) / 1.5),), "SUCCEEDED", "", "200", original=LATE, size=(256, 192)),
    Line("/cut.jpg", (cut(HALF, len(HALF) // 2),), "FAILED", "CONTENT_TRUNCATED", "200", "2", 2),
    # The length is true, but the picture in it ends too early: only the decoder can tell.
    Line("/half.jpg", (picture(HALF[: len(HALF) // 2]),), "FAILED", "CONTENT_TRUNCATED", "200", "2", 2),
    Line("/empty.jpg", (picture(b""),), "FAILED", "CONTENT_EMPTY", "200", "2", 2),
    Line("/page.jpg", (html(),), "FAILED", "CONTENT_IS_HTML", "200", "2", 2),
    Line(
        "/again.jpg", (picture(SHARED),),
        "SUCCEEDED", "", "200", original=SHARED, size=(256, 192), duplicate_of="2",
    ),
    Line("/gone-soon.jpg", (html(), picture(GOOD + b"\0")), "SUCCEEDED", "", "200", "2", 2, GOOD + b"\0", (256, 128)),
]  # fmt: skip
MALFORMED = ["htp//127.0.0.1/typo.jpg", "not a url at all"]


@pytest.fixture
def mixed(any_house: House) -> House:
    house = any_house
    urls = [house.server.route(line.path, *line.replies) for line in LINES]
    house.write_list(["# a list as people keep them", "", *urls, *MALFORMED])
    return house


def test_every_line_of_a_mixed_list_ends_with_the_right_row(mixed: House) -> None:
    ended = mixed.run("--retries", "1")

    assert ended.code == 1, ended.said
    rows = mixed.manifest()
    assert [int(row["index"]) for row in rows] == list(range(len(LINES) + len(MALFORMED)))
    for line, row in zip(LINES, rows, strict=False):
        expect_row(mixed, line, row)
    for source, row in zip(MALFORMED, rows[len(LINES) :], strict=True):
        assert (row["source"], row["state"], row["error_code"]) == (source, "FAILED", "SOURCE_INVALID")
        assert row["error_message"].startswith(f"Line {3 + int(row['index'])}: ")
    assert mixed.requests() == {line.path: line.requests for line in LINES}
    assert mixed.leftovers() == []


def expect_row(house: House, line: Line, row: dict[str, str]) -> None:
    found = [row[name] for name in ("state", "error_code", "attempts", "duplicate_of")]
    assert found == [line.state, line.code, line.attempts, line.duplicate_of], line.path
    assert line.status == row["http_status"], line.path
    assert bool(row["error_message"]) == bool(line.code), line.path
    if line.size is None:
        assert row["fit-256"] == "", line.path
        return
    assert row["sha256"] == hashlib.sha256(line.original).hexdigest(), line.path
    assert row["bytes"] == str(len(line.original)), line.path
    with Image.open(house.out / row["fit-256"]) as image:
        image.load()
        assert (image.format, image.size) == ("JPEG", line.size), line.path


def test_the_report_adds_up_to_the_rows(mixed: House) -> None:
    mixed.run("--retries", "0")

    report, rows = mixed.report(), mixed.manifest()
    failed = [row["error_code"] for row in rows if row["state"] == "FAILED"]
    assert report["errors"] == {code: failed.count(code) for code in set(failed)}
    assert report["duplicates"] == 1
    succeeded = sum(row["state"] == "SUCCEEDED" for row in rows)
    assert report["success_rate"] == pytest.approx(succeeded / len(rows))


def test_the_standard_recipe_makes_every_variant_of_every_picture(any_house: House) -> None:
    house = any_house
    house.write_list([house.server.route("/wide.jpg", picture(pictures.jpeg(1600, 800)))])

    ended = house.run("--recipe", "standard")

    assert ended.code == 0, ended.said
    (row,) = house.manifest()
    sizes = {"thumbnail": (150, 75), "medium": (600, 300), "large": (1200, 600)}
    for name, size in sizes.items():
        for variant, format_ in ((name, "JPEG"), (f"{name}-webp", "WEBP")):
            with Image.open(house.out / row[variant]) as image:
                assert (image.format, image.size) == (format_, size)

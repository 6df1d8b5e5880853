"""A list with one line for each trouble of the network: every row of the manifest says what its line met."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.support.house import House
from tests.support.trouble_world import World, authority_file, open_world
from tests.support.troubles import JPEG, ODDITIES, QUICK, TROUBLES, Oddity, Trouble

COMMAND = (sys.executable, "-m", "tests.scenarios.in_trouble")
IMPATIENT = {
    "IMAGEMILL_CONNECT_TIMEOUT_S": "1",
    "IMAGEMILL_READ_TIMEOUT_S": "1.5",
    "IMAGEMILL_THROUGHPUT_WINDOW_S": "2",
    "IMAGEMILL_MIN_BYTES_PER_S": "1000",
}
"""Seconds where it would wait for ten."""
MET = [trouble for trouble in TROUBLES if not trouble.by_the_clock]
MALFORMED = {
    "htp://127.0.0.1/typo.jpg": "http",
    "http://": "host",
    "http://name:word@127.0.0.1/a.jpg": "user",
    "http://127.0.0.1:99999/a.jpg": "port",
}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with open_world(JPEG) as world:
        yield world


@pytest.fixture(scope="module")
def rows(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dict[str, str]]]:
    """The manifest of a run in which each line met its trouble."""
    folder = tmp_path_factory.mktemp("troubled")
    house = House(folder, world.plain)
    house.write_list(
        [
            *(trouble.url(world) for trouble in MET),
            *(world.plain.route(oddity.path, oddity.reply) for oddity in ODDITIES),
            world.secure_url("good"),
            *MALFORMED,
        ]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(authority_file(world, folder)))
        for name, value in IMPATIENT.items():
            patch.setenv(name, value)
        options = ("--retries", "0", "--timeout", "9", "--concurrency", "200", "--per-host", "200")
        program = house.start(*options, command=COMMAND)
    try:
        ended = program.ended()
        assert ended.code == 1, ended.said
        assert "Traceback" not in ended.said
        rows = house.manifest()
        assert len(rows) == len(MET) + len(ODDITIES) + 1 + len(MALFORMED)
        assert house.leftovers() == []
        assert "Traceback" not in house.log()
        yield [{**row, "folder": str(house.out)} for row in rows]
    finally:
        program.destroy()


@pytest.mark.parametrize(("index", "trouble"), list(enumerate(MET)), ids=[trouble.name for trouble in MET])
def test_a_trouble_has_its_row(rows: list[dict[str, str]], index: int, trouble: Trouble) -> None:
    row = rows[index]

    assert (row["state"], row["error_code"], row["attempts"]) == ("FAILED", trouble.code.value, "1")
    assert row["http_status"] == str(trouble.status or "")
    # All lines ask one host: a connection that the neighbour's trouble has just ended may cost a try of its own.
    assert trouble.tries <= int(row["tries"]) <= QUICK
    assert trouble.says in row["error_message"]
    assert row["fit-256"] == ""


@pytest.mark.parametrize(("place", "oddity"), list(enumerate(ODDITIES)), ids=[oddity.name for oddity in ODDITIES])
def test_an_oddity_has_its_picture(rows: list[dict[str, str]], place: int, oddity: Oddity) -> None:
    row = rows[len(MET) + place]

    assert (row["state"], row["error_code"], row["attempts"]) == ("SUCCEEDED", "", "1")
    assert row["sha256"] == hashlib.sha256(JPEG).hexdigest()
    assert [words in row["warnings"] for words in oddity.warnings] == [True] * len(oddity.warnings)
    assert bool(row["warnings"]) == bool(oddity.warnings)
    with Image.open(Path(row["folder"]) / row["fit-256"]) as image:
        assert (image.format, image.size) == ("JPEG", (256, 192))


def test_an_authority_of_ones_own_is_trusted_when_it_is_named(rows: list[dict[str, str]]) -> None:
    row = rows[len(MET) + len(ODDITIES)]

    assert (row["source"].startswith("https://"), row["state"]) == (True, "SUCCEEDED")


def test_lines_that_are_no_urls_say_what_is_wrong_with_them(rows: list[dict[str, str]]) -> None:
    for row, (line, says) in zip(rows[-len(MALFORMED) :], MALFORMED.items(), strict=True):
        assert (row["source"], row["state"], row["error_code"]) == (line, "FAILED", "SOURCE_INVALID")
        assert says in row["error_message"]
        assert (row["attempts"], row["tries"]) == ("0", "")

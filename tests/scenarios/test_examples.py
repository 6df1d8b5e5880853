"""Every example does what it says, on a real mill."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from imagemill.client import MillClient, state_word
from tests.guards.tree import ROOT
from tests.support import pictures
from tests.support.house import House
from tests.support.picture_server import PictureServer, picture, serve_in_thread, slow, status
from tests.support.processes import Program
from tests.support.standing import StandingMill, standing_mill

EXAMPLES = ROOT / "examples"
BASE = pictures.jpeg(64, 48)
RECIPE = {"variants": [{"name": "small", "mode": "inside", "width": 16, "height": 16, "format": "jpeg"}]}


@pytest.fixture(scope="module")
def mill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandingMill]:
    with standing_mill(tmp_path_factory.mktemp("examples"), "127.0.0.1:0") as mill:
        yield mill


@pytest.fixture
def server() -> Iterator[PictureServer]:
    with serve_in_thread() as server:
        yield server


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run an example to its end, in the environment that its user has."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [sys.executable] if name.endswith(".py") else []
    command += [str(EXAMPLES / name), *arguments]
    environment = {**os.environ, "PATH": path, "NO_COLOR": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)


def good(server: PictureServer, number: int) -> list[str]:
    return [server.route(f"/{n}.jpg", picture(pictures.numbered(BASE, n))) for n in range(number)]


async def submitted(mill: StandingMill, urls: list[str]) -> str:
    async with MillClient(mill.target) as client:
        return (await client.submit(urls, recipe=RECIPE)).name


def test_every_example_is_listed_and_tested() -> None:
    names = {path.name for path in EXAMPLES.iterdir() if path.suffix in {".py", ".sh"}}
    readme, tests = (EXAMPLES / "README.md").read_text(), Path(__file__).read_text()

    assert {name for name in names if f"({name})" not in readme or f'"{name}"' not in tests} == set()


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_an_example_tells_how_it_is_used(name: str) -> None:
    told = run(name, "--help")

    assert told.returncode == 0
    assert "usage:" in told.stdout


@pytest.mark.parametrize(
    ("name", "arguments"), [("follow.py", ["none"]), ("failures.py", ["none"]), ("night_hours.py", ["none"])]
)
def test_a_refusal_of_the_mill_is_one_line(mill: StandingMill, name: str, arguments: list[str]) -> None:
    refused = run(name, *arguments, "--to", mill.target)

    assert refused.returncode == 1
    assert refused.stderr.strip() == "BATCH_NOT_FOUND: There is no batch 'batches/none'."


async def test_a_column_of_a_csv_file_is_handed_in_once(
    mill: StandingMill, server: PictureServer, tmp_path: Path
) -> None:
    urls = good(server, 2)
    table = tmp_path / "products.csv"
    table.write_text(f'\ufeffid,"image url"\n1,{urls[0]}\n2,\n3,"{urls[1]}"\n', encoding="utf-8")

    first, again = (run("submit_csv.py", str(table), "--column", "image url", "--to", mill.target) for _ in range(2))

    assert first.returncode == 0, first.stderr
    assert first.stdout == again.stdout
    async with MillClient(mill.target) as client:
        batch = await client.wait(first.stdout.strip())
        items = [item async for item in client.items(batch)]
    assert [(item.source_row, state_word(item)) for item in items] == [
        (2, "succeeded"),
        (3, "skipped"),
        (4, "succeeded"),
    ]
    assert [render.variant for render in items[0].renders] == ["thumb", "large"]


def test_a_column_that_is_not_there_is_named(mill: StandingMill, tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text("id,picture\n")

    refused = run("submit_csv.py", str(tmp_path / "products.csv"), "--column", "url", "--to", mill.target)

    assert refused.returncode == 1
    assert "no column 'url', but id, picture" in refused.stderr


async def test_a_batch_is_followed_to_its_end(mill: StandingMill, server: PictureServer) -> None:
    name = await submitted(mill, [*good(server, 5), server.route("/gone.jpg", status(404))])

    followed = run("follow.py", name, "--to", mill.target)

    assert followed.returncode == 1, followed.stderr
    assert followed.stdout.endswith("5 succeeded, 1 failed, 0 skipped\n")
    assert "100%" in followed.stdout


async def test_failures_are_grouped_by_reason_and_tried_again(mill: StandingMill, server: PictureServer) -> None:
    gone = [server.route(f"/gone-{n}.jpg", status(404), picture(pictures.numbered(BASE, n))) for n in range(2)]
    name = await submitted(mill, [*gone, "no url", *good(server, 1)])
    async with MillClient(mill.target) as client:
        await client.wait(name)

        told = run("failures.py", name, "--retry", "SOURCE_NOT_FOUND", "--to", mill.target)

        lines = told.stdout.splitlines()
        assert [line.split() for line in lines[::2][:2]] == [["2", "SOURCE_NOT_FOUND"], ["1", "SOURCE_INVALID"]]
        assert gone[0] in lines[1]
        assert lines[-1] == "2 are tried again."
        assert (await client.wait(name)).progress.succeeded == 3


async def test_batches_rest_by_day_and_work_at_night(mill: StandingMill, server: PictureServer, tmp_path: Path) -> None:
    urls = [server.route(f"/slow-{n}.jpg", slow(pictures.numbered(BASE, n), len(BASE) * 10)) for n in range(80)]
    name = await submitted(mill, urls)
    now = datetime.now()
    later, earlier = (f"{now + timedelta(hours=hours):%H:%M}" for hours in (6, -6))
    command = [sys.executable, str(EXAMPLES / "night_hours.py"), name, "--every", "0.05", "--to", mill.target]

    by_day = Program([*command, "--begin", later, "--end", earlier], tmp_path)
    by_day.wait_until(lambda: "is paused until" in by_day.out)
    by_day.destroy()
    async with MillClient(mill.target) as client:
        paused = await client.get(name)
    by_night = Program([*command, "--begin", earlier, "--end", later], tmp_path).ended()

    assert state_word(paused) == "paused"
    assert by_night.code == 0, by_night.said
    assert by_night.out == f"{name} goes on.\n{name} is done.\n"


def test_the_programs_of_the_guide_work_as_they_stand(
    mill: StandingMill, server: PictureServer, tmp_path: Path
) -> None:
    text = (ROOT / "docs" / "how-to" / "script-against-a-mill.md").read_text(encoding="utf-8")
    programs = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "asyncio.run" in block]
    urls = [*good(server, 1), server.route("/gone.jpg", status(404))]
    ended = []
    for number, program in enumerate(programs):
        path = tmp_path / f"{number}.py"
        path.write_text(program, encoding="utf-8")
        arguments = [mill.target, *urls] if "sys.argv[1]," in program else urls
        command = [sys.executable, str(path), *arguments]
        ended.append(subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path))

    handed_in, embedded = ended
    assert "1 succeeded, 1 failed of 2\n" in handed_in.stdout, handed_in.stderr
    assert f"{urls[0]} succeeded \n{urls[1]} failed " in handed_in.stdout
    assert embedded.stdout.startswith(f"{urls[0]} "), embedded.stderr
    assert embedded.stdout.endswith("50% of 2\n")
    assert Path(embedded.stdout.split()[1]).read_bytes().startswith(b"\xff\xd8")


def test_a_folder_of_pictures_becomes_a_web_page(house: House) -> None:
    house.write_list([*good(house.server, 2), "<script>"])
    house.run()

    page = run("contact_sheet.py", str(house.out), "--variant", "fit-256").stdout

    paths = [row["fit-256"] for row in house.manifest()]
    assert page.count("<img src=") == 2
    assert all(f'"{path}"' in page for path in paths[:2])
    assert "&lt;script&gt;: Line 3" in page


def test_a_shell_needs_nothing_of_imagemill(mill: StandingMill, server: PictureServer, tmp_path: Path) -> None:
    done = run("curl.sh", good(server, 1)[0], mill.target)

    assert done.returncode == 0, done.stderr
    decoder, answers, text = json.JSONDecoder(), [], done.stdout.strip()
    while text:
        answer, end = decoder.raw_decode(text)
        answers.append(answer)
        text = text[end:].strip()
    assert [update["update"]["kind"] for update in answers[1:-1]][-1] == "KIND_END"
    assert answers[-1]["report"]["successRate"] == 1

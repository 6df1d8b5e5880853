"""Nothing but the mill's own sentences reaches the terminal, though Python is told to show every warning there is."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.scenarios.test_pictures_of_every_kind import KINDS
from tests.support.house import House
from tests.support.picture_server import cut, dropped, html, picture, status
from tests.support.serving_mill import serving_mill
from tests.unit.processor.test_metadata import ORIGINALS


@pytest.fixture(autouse=True)
def _every_warning_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    # Forgotten files and coroutines, deprecated calls, debugging of asyncio: in this process's children only.
    monkeypatch.setenv("PYTHONDEVMODE", "1")


def test_a_run_through_good_odd_and_broken_pictures_warns_of_nothing(house: House) -> None:
    kinds = {name: kind.data for name, kind in KINDS.items()}
    noted = {f"noted-{number}.{format_}": data for number, (format_, data) in enumerate(ORIGINALS.items())}
    house.write_list(
        [
            *(house.server.route(f"/{name}", picture(data)) for name, data in (kinds | noted).items()),
            *(house.server.route(f"/half-{name}", picture(data[: len(data) // 2])) for name, data in kinds.items()),
            *(house.server.route(f"/cut-{name}", cut(data, 40)) for name, data in kinds.items()),
            house.server.route("/gone.jpg", status(404)),
            house.server.route("/page.jpg", html()),
            house.server.route("/away.jpg", dropped()),
            "nonsense",
        ]
    )

    ended = house.run("--retries", "0")

    assert (ended.code, ended.err) == (1, "")
    assert "Warning" not in ended.out
    assert "Traceback" not in house.log()


def test_a_mill_and_its_commands_warn_of_nothing(tmp_path: Path) -> None:
    with serving_mill(tmp_path) as mill:
        up = mill.up()
        submitted = mill.ask("submit", mill.write_list("urls.txt", mill.good(3)), "--batch-id", "b", "--watch")
        asked = [
            mill.ask(*words)
            for words in (["list"], ["items", "b"], ["report", "b"], ["watch", "b"], ["settings"], ["retry", "b"])
        ]
        up.send(signal.SIGINT)
        stopped = up.ended(10.0)

    assert [submitted.err, *(ended.err for ended in asked)] == [""] * 7
    assert stopped.err.count("\n") == 1, stopped.err
    assert stopped.err.startswith("imagemill: ")

"""What a start of the command reads: nothing that is heavy and not needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"aiohttp", "grpc", "httpx", "pydantic", "rich", "sqlalchemy", "yaml"}


def heavy_after(code: str) -> set[str]:
    """Return the heavy packages that a process has read after `code`, with its standard output no terminal."""
    tell = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", f"{code}; {tell}"], capture_output=True, text=True, check=True)
    return HEAVY & set(done.stdout.split())


def test_the_commands_words_need_none_of_the_heavy_packages() -> None:
    assert heavy_after("import imagemill.cli.app") == set()


@pytest.mark.parametrize("json", [True, False])
def test_a_run_that_nobody_watches_draws_nothing_and_so_reads_no_drawing(json: bool) -> None:
    shown = f"open_display(as_json={json}, quiet=False, verbose=False).stop()"

    assert heavy_after(f"import imagemill.cli.run; from imagemill.cli.display import open_display; {shown}") == {"grpc"}

"""How a service's process ends when it can't be started as told, and when it meets an error of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, sys
from imagemill.ports.unavailable import UrlUnusable
from imagemill.runtime.process import main
from imagemill.settings.live import LiveSettings
from imagemill.settings.service_groups import Gateway

async def work(settings: LiveSettings[Gateway], stop: asyncio.Event) -> None:
    raise {error}("words of the error")

sys.exit(main("imagemill gateway", Gateway, work))
"""
ENVIRONMENT = {"IMAGEMILL_BROKER_URL": "amqp://mill:s3cret@127.0.0.1:1/", "IMAGEMILL_STORAGE_TARGET": "127.0.0.1:1"}


@pytest.mark.parametrize(("error", "code"), [("UrlUnusable", 2), ("ValueError", 70), ("RuntimeError", 70)])
def test_only_a_url_that_cannot_be_used_is_the_callers_mistake(error: str, code: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM.format(error=error)]
    root = str(Path(__file__).parents[3])
    ended = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={**ENVIRONMENT, "PYTHONPATH": root}, timeout=60
    )

    assert ended.returncode == code, ended.stderr
    if code == 2:
        assert ended.stderr.endswith("imagemill gateway: words of the error\n")
        assert "Traceback" not in ended.stderr

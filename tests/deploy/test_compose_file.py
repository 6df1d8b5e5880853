"""What an engine would find out too late: all that `deploy/compose.yaml` says fits, and its example is whole."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from imagemill.runtime.process import CLOSING_S
from imagemill.settings.declaring import settings_of
from imagemill.settings.groups import Logging
from imagemill.settings.loading import Sources, load
from imagemill.settings.service_groups import Downloader, Gateway, OnDatabase, Processor, Storage
from tests.guards.tree import ROOT

TEXT = (ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
GROUPS: dict[str, type[Logging]] = {
    "gateway": Gateway,
    "downloader": Downloader,
    "processor": Processor,
    "storage": Storage,
    "migrate": OnDatabase,
}
_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def told(service: str) -> dict[str, str]:
    """What a service is told when nothing is set outside."""
    environment: dict[str, str] = SERVICES[service]["environment"]
    return {name: _VARIABLE.sub(lambda found: found[2], value) for name, value in environment.items()}


@pytest.mark.parametrize("service", GROUPS)
def test_a_service_is_told_its_own_settings_and_all_that_it_needs(service: str) -> None:
    load(GROUPS[service], Sources(environ=told(service), folder=None))

    known = {setting.variable for setting in settings_of(GROUPS[service]).values()}
    assert set(told(service)) <= known


@pytest.mark.parametrize("service", ["gateway", "downloader", "processor", "storage"])
def test_a_service_is_asked_about_its_health_where_it_listens(service: str) -> None:
    port = told(service)["IMAGEMILL_LISTEN"].rpartition(":")[2]

    assert SERVICES[service]["healthcheck"]["test"] == ["CMD", "imagemill", "health", "--to", f"127.0.0.1:{port}"]


@pytest.mark.parametrize("service", ["gateway", "downloader", "processor", "storage"])
def test_a_service_is_given_more_time_to_stop_than_it_takes(service: str) -> None:
    settings = load(GROUPS[service], Sources(environ=told(service), folder=None)).values

    assert SERVICES[service]["stop_grace_period"] == "30s"
    assert getattr(settings, "grace_s", 0.0) + CLOSING_S < 30


def test_others_are_looked_for_where_they_listen() -> None:
    for service in ("downloader", "processor", "gateway"):
        assert told(service)["IMAGEMILL_STORAGE_TARGET"] == "storage:50052"
    assert told("storage")["IMAGEMILL_LISTEN"].endswith(":50052")
    assert told("mill")["IMAGEMILL_TO"].rpartition(":")[2] == told("gateway")["IMAGEMILL_LISTEN"].rpartition(":")[2]


def test_the_example_names_every_variable_with_its_default() -> None:
    example = (ROOT / "deploy" / ".env.example").read_text(encoding="utf-8")

    assert dict(re.findall(r"^#(\w+)=(.*)$", example, re.MULTILINE)) == dict(_VARIABLE.findall(TEXT))

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.house import House, open_house
from tests.support.services_house import ServicesHouse, open_services_house


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with open_house(tmp_path) as house:
        yield house


@pytest.fixture
def services(tmp_path: Path, rabbitmq_server: str, postgres_server: str) -> Iterator[ServicesHouse]:
    with open_services_house(tmp_path, rabbitmq_server, postgres_server) as house:
        yield house


@pytest.fixture(params=["embedded", "services"])
def any_house(request: pytest.FixtureRequest) -> House:
    """A house with either mill in it: all in one process tree, or four services on RabbitMQ and PostgreSQL."""
    house: House = request.getfixturevalue("house" if request.param == "embedded" else "services")
    return house

"""A generic gRPC client works with a mill: it learns the API from the mill itself, or from the published protos."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guards.tree import ROOT
from tests.support.standing import StandingMill, standing_mill

BUF = str(Path(sys.executable).with_name("buf"))
SERVICE = "imagemill.v1.BatchService"
RECIPE = {"variants": [{"name": "small", "mode": "MODE_INSIDE", "width": 16, "height": 16, "format": "FORMAT_JPEG"}]}
INVALID_ARGUMENT = 3 << 3
"""`buf curl` exits with the status of the call, shifted."""

REFLECTION = ()
PROTOS = ("--schema", str(ROOT / "protos"))


@pytest.fixture(scope="module")
def mill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandingMill]:
    with standing_mill(tmp_path_factory.mktemp("generic"), "127.0.0.1:0") as mill:
        yield mill


class Curl:
    """`buf curl` as a stranger has it: no configuration, no cache, and no network but this machine's."""

    def __init__(self, target: str, home: Path) -> None:
        self._url = f"http://{target}"
        # Whatever it might want from elsewhere it would ask of a proxy that is not there.
        nowhere = {name: "http://127.0.0.1:9" for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")}
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(home), "NO_PROXY": "127.0.0.1", **nowhere}

    def __call__(self, path: str, *options: str, data: object = None) -> subprocess.CompletedProcess[str]:
        given = [] if data is None else ["--data", json.dumps(data)]
        command = [BUF, "curl", "--protocol", "grpc", "--http2-prior-knowledge", *options, *given, self._url + path]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=30)


@pytest.fixture
def curl(mill: StandingMill, tmp_path: Path) -> Curl:
    return Curl(mill.target, tmp_path)


def messages(answer: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    """The messages of an answer; `buf curl` writes one JSON object after the other."""
    assert answer.returncode == 0, answer.stderr
    decoder, text, found = json.JSONDecoder(), answer.stdout.strip(), []
    while text:
        message, end = decoder.raw_decode(text)
        found.append(message)
        text = text[end:].strip()
    return found


def test_the_mill_says_itself_what_can_be_called(curl: Curl) -> None:
    services = curl("", "--list-services").stdout.split()
    methods = curl("", "--list-methods").stdout.split()

    assert {SERVICE, "grpc.health.v1.Health"} <= set(services)
    assert "imagemill.v1.StorageService" not in services
    assert f"{SERVICE}/WatchBatch" in methods


@pytest.mark.parametrize("schema", [REFLECTION, PROTOS], ids=["reflection", "protos"])
def test_a_batch_is_handed_in_followed_and_listed(curl: Curl, schema: tuple[str, ...]) -> None:
    batch_id = f"by-{len(schema)}"
    spec = {"batchId": batch_id, "batch": {"recipe": RECIPE}}
    request = {"spec": spec, "items": [{"uri": "no url"}]}

    (created,) = messages(curl(f"/{SERVICE}/CreateBatch", *schema, data=request))
    updates = messages(curl(f"/{SERVICE}/WatchBatch", *schema, data={"name": f"batches/{batch_id}"}))
    (listed,) = messages(curl(f"/{SERVICE}/ListItems", *schema, data={"parent": f"batches/{batch_id}"}))
    (batches,) = messages(curl(f"/{SERVICE}/ListBatches", *schema))

    assert created["batch"]["name"] == f"batches/{batch_id}"  # type: ignore[index]  # JSON
    assert [update["update"]["kind"] for update in updates][-1] == "KIND_END"  # type: ignore[index]  # JSON
    assert listed["items"][0]["failure"]["code"] == "SOURCE_INVALID"  # type: ignore[index]  # JSON
    assert f"batches/{batch_id}" in [batch["name"] for batch in batches["batches"]]  # type: ignore[attr-defined]  # JSON


def test_a_list_is_streamed_in(curl: Curl) -> None:
    parts = [
        {"spec": {"batchId": "streamed", "batch": {"recipe": RECIPE}}},
        {"chunk": {"items": [{"uri": "one"}, {"uri": "two"}]}},
        {"chunk": {"firstIndex": 2, "items": [{"uri": "three"}]}},
    ]

    (taken,) = messages(curl(f"/{SERVICE}/ImportBatch", "--data", "\n".join(map(json.dumps, parts))))

    assert taken["batch"]["progress"]["total"] == "3"  # type: ignore[index]  # JSON


@pytest.mark.parametrize("schema", [REFLECTION, PROTOS], ids=["reflection", "protos"])
def test_a_refusal_says_what_is_wrong(curl: Curl, schema: tuple[str, ...]) -> None:
    refused = curl(f"/{SERVICE}/GetBatch", *schema, data={"name": "nonsense"})

    assert refused.returncode == INVALID_ARGUMENT
    said = json.loads(refused.stderr)
    assert said["message"] == "'nonsense' is no batch's name."
    assert [detail["type"] for detail in said["details"]] == ["google.rpc.ErrorInfo", "google.rpc.BadRequest"]


def test_the_health_service_answers(curl: Curl) -> None:
    (health,) = messages(curl("/grpc.health.v1.Health/Check", data={"service": SERVICE}))

    assert health == {"status": "SERVING"}

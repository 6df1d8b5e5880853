"""An object store for tests: a server that speaks S3, in a process of its own on this machine.

Stores dial below Python, where no fence sees it: whoever opens one in a test uses the environment given here, which
names all credentials, so that nobody is asked for them.
"""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Mapping
from http.client import HTTPConnection

import obstore
from obstore.store import S3Store

SECRET = "s3cret-of-the-store"
BUCKET = "mill"
NOBODY = "http://127.0.0.1:1"
_SERVE = (
    "import sys; from moto.server import ThreadedMotoServer as Server; "
    "server = Server(ip_address='127.0.0.1', port=0, verbose=False); server.start(); "
    "print(server.get_host_and_port()[1], flush=True); sys.stdin.read(); server.stop()"
)


def credentials(endpoint: str) -> dict[str, str]:
    """What the environment says to whoever uses the store at `endpoint`, and nothing that is asked of the machine."""
    return {
        "AWS_ACCESS_KEY_ID": "AKIATEST",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_METADATA_ENDPOINT": NOBODY,
    }


class ObjectServer:
    """A server of S3 with one bucket."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.environment: Mapping[str, str] = credentials(self.endpoint)
        self._ask("PUT", f"/{BUCKET}")

    def url(self) -> str:
        """A place in the bucket that nobody has used yet."""
        return f"s3://{BUCKET}/{uuid.uuid4().hex}"

    def store(self, url: str) -> S3Store:
        """What lies at a place, without the mill's own way to look at it."""
        place = url.removeprefix(f"s3://{BUCKET}/")
        return S3Store(
            BUCKET,
            prefix=place,
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id="AKIATEST",
            secret_access_key=SECRET,
            client_options={"allow_http": True},
        )

    def keys(self, url: str) -> list[str]:
        """Every key at a place."""
        return sorted(found["path"] for page in obstore.list(self.store(url)) for found in page)

    def uploads(self) -> str:
        """What the server tells of uploads in parts that were begun and neither ended nor given up."""
        return self._ask("GET", f"/{BUCKET}?uploads=")

    def _ask(self, method: str, path: str) -> str:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10.0)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            text = answer.read().decode()
            assert answer.status == 200, text
            return text
        finally:
            connection.close()

    def close(self) -> None:
        """End the server."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10.0)
        self._process.stdout.close()

"""What importing the client costs, and what it leaves as it was."""

from __future__ import annotations

import subprocess
import sys

LOOK = """
import ssl
load = ssl.SSLContext.load_default_certs
import imagemill.http
from aiohttp import connector
print(ssl.SSLContext.load_default_certs is load, connector._SSL_CONTEXT_VERIFIED.get_ca_certs())
"""


def test_no_certificate_is_read_before_one_is_needed() -> None:
    said = subprocess.run([sys.executable, "-c", LOOK], check=True, capture_output=True, text=True).stdout

    assert said == "True []\n"

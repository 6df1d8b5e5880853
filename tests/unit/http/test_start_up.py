"""What importing the client costs, and what it leaves as it was."""

from __future__ import annotations

import subprocess
import sys

LOOK = """
import ssl
before = dict(vars(ssl.SSLContext))
import imagemill.http
from aiohttp import connector
contexts = connector._SSL_CONTEXT_VERIFIED, connector._SSL_CONTEXT_UNVERIFIED
print(dict(vars(ssl.SSLContext)) == before, [context.get_ca_certs() for context in contexts])
"""


def test_no_certificate_is_read_before_one_is_needed() -> None:
    said = subprocess.run([sys.executable, "-c", LOOK], check=True, capture_output=True, text=True).stdout

    assert said == "True [[], []]\n"

"""What importing the client costs, and what it leaves as it was."""

from __future__ import annotations

import subprocess
import sys

CERTIFICATES = """
import ssl
before = dict(vars(ssl.SSLContext))
import imagemill.http
from aiohttp import connector
contexts = connector._SSL_CONTEXT_VERIFIED, connector._SSL_CONTEXT_UNVERIFIED
print(dict(vars(ssl.SSLContext)) == before, [context.get_ca_certs() for context in contexts])
"""
COMMAND = """
import sys
import imagemill.http
print([name for name in ("click", "rich", "httpx._main") if name in sys.modules])
import importlib
print(callable(importlib.import_module("httpx._main").main))
"""


def test_no_certificate_is_read_before_one_is_needed() -> None:
    assert said_by(CERTIFICATES) == "True [[], []]\n"


def test_the_command_of_httpx_is_not_imported_and_whoever_wants_it_still_can() -> None:
    assert said_by(COMMAND) == "[]\nTrue\n"


def said_by(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout

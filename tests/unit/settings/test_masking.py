"""Addresses are shown as they were given, but for what is secret in them."""

from __future__ import annotations

import pytest

from imagemill.settings.addresses import masked


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////srv/mill/mill.db",
        "sqlite:///mill.db",
        "file:///srv/mill",
        "memory:",
        "postgresql://mill@db.example:5432/mill",
        "amqp://broker.example/%2Fmill",
        "s3://bucket/folder?region=eu-central-1",
        "postgresql:///mill?host=/run/postgresql",
    ],
)
def test_what_holds_no_secret_is_shown_unchanged(url: str) -> None:
    assert masked(url) == url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://mill:hush@db.example/mill", "postgresql://mill:***@db.example/mill"),
        ("amqps://mill:hu%40sh@broker.example", "amqps://mill:***@broker.example"),
        ("postgresql:///mill?password=hush&host=/run", "postgresql:///mill?password=***&host=/run"),
        ("s3://bucket/folder?secret_access_key=hush", "s3://bucket/folder?secret_access_key=***"),
        ("s3://bucket/folder#hush", "s3://bucket/folder"),
        ("postgresql://[half", "***"),
    ],
)
def test_secrets_are_replaced(url: str, shown: str) -> None:
    assert masked(url) == shown

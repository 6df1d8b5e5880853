"""Addresses are shown as they were given, but for what is secret in them."""

from __future__ import annotations

import pytest

from imagemill.settings.addresses import Url, masked


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
        "file:///srv/a@b",
        "s3://bucket/a@b",
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
        ("amqp://mill:aB3/hush@broker.example:5672/", "***"),
        ("amqp://mill:1234/hush@broker.example:5672/", "***"),
        ("amqp://mill:12#hush@broker.example", "***"),
    ],
)
def test_secrets_are_replaced(url: str, shown: str) -> None:
    assert masked(url) == shown


@pytest.mark.parametrize("password", ["aB3/hush", "1234/hush", "12?hush", "12#hush"])
def test_a_password_that_ends_its_address_early_is_refused_and_not_repeated(password: str) -> None:
    with pytest.raises(ValueError, match="percent-encoded") as refused:
        Url(("amqp",), "amqp://mill:password@localhost/").read(f"amqp://mill:{password}@broker.example:5672/")

    assert "hush" not in str(refused.value)

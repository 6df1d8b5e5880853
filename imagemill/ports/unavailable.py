"""What every port raises when the part behind it is away, or can't be meant."""

from __future__ import annotations


class PartUnavailable(Exception):
    """A part that the mill stands on can't be used for the moment; the text says which and is safe to log."""


class UrlUnusable(ValueError):
    """A URL that stands for no part of the kind, or can't be read; the text holds no password of it."""

"""What every port raises when the part behind it is away."""

from __future__ import annotations


class PartUnavailable(Exception):
    """A part that the mill stands on can't be used for the moment; the text says which and is safe to log."""

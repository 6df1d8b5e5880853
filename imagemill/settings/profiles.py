"""The profiles that are there from the start; a settings file may define others, or these anew."""

from __future__ import annotations

from collections.abc import Mapping

PROFILES: Mapping[str, Mapping[str, object]] = {
    # Many quick hosts, where a lost picture costs less than waiting for it.
    "fast-download": {"downloads": 200, "per_host": 16, "timeout_s": 15, "retries": 1, "recipe": "dataset-256"},
    # A site's own pictures: all sizes in JPEG and WebP, every picture wanted, the host spared.
    "seo": {"downloads": 16, "per_host": 4, "timeout_s": 60, "retries": 6, "recipe": "standard"},
}

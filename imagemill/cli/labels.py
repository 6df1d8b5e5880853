"""What a batch remembers of its list, so that the same command later sees whether it is still the same."""

from __future__ import annotations

from imagemill.cli.sources import SourceList, Survey

INPUT_NAME = "input-name"
INPUT_DIGEST = "input-sha256"
INPUT_LINES = "input-lines"


def labels_of(sources: SourceList, survey: Survey) -> dict[str, str]:
    """Describe a list."""
    name = sources.name.encode(errors="replace").decode()
    return {INPUT_NAME: name, INPUT_DIGEST: survey.digest, INPUT_LINES: str(survey.lines)}

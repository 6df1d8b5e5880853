from __future__ import annotations

import pytest

from tests.fuzz import effort


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was tried, when much was asked for; with the seed it can be tried again."""
    if effort.SEED is None or not effort.TALLY:
        return
    terminalreporter.section(f"fuzz, seed {effort.SEED}")
    for outcome, count in sorted(effort.TALLY.items(), key=lambda entry: (-entry[1], entry[0])):
        terminalreporter.write_line(f"{count:>8,}  {outcome}")

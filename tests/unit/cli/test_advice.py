"""Every failure code comes with advice."""

from __future__ import annotations

from imagemill.cli.advice import ADVICE, advice_for
from imagemill.domain.failures import FailureCode


def test_every_code_has_one_line_of_advice() -> None:
    assert set(ADVICE) == set(FailureCode)
    assert [text for text in ADVICE.values() if not text or "\n" in text or len(text) > 100] == []


def test_a_code_of_a_newer_mill_is_shown_without_advice() -> None:
    assert advice_for("NOT_YET_INVENTED") == ""

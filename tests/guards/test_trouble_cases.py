"""Every failure code has a case that reaches it: a trouble of the network, or a test that says so here."""

from __future__ import annotations

from collections import Counter

import pytest

from imagemill.domain.failures import FAMILY_OF, FailureCode, Family
from tests.guards.tree import ROOT
from tests.support.troubles import ODDITIES, TROUBLES

ELSEWHERE = {
    FailureCode.SKIPPED_BY_INPUT: ("the input says so; nothing is fetched", "unit/gateway/test_intake.py"),
    FailureCode.DECODE_FAILED: ("only a decoder can tell", "unit/processor/test_render_failures.py"),
    FailureCode.TOO_MANY_PIXELS: ("only a decoder can tell", "unit/processor/test_render_failures.py"),
    FailureCode.MEMORY_EXCEEDED: ("happens in a rendering process", "unit/processor/test_render_failures.py"),
    FailureCode.RENDER_TIMEOUT: ("happens in a rendering process", "unit/processor/test_pool_faults.py"),
    FailureCode.RENDER_CRASHED: ("happens in a rendering process", "unit/processor/test_pool_faults.py"),
    FailureCode.ENCODE_FAILED: ("happens in a rendering process", "unit/processor/test_render_failures.py"),
    FailureCode.STORE_UNAVAILABLE: ("the disk's trouble", "unit/downloader/test_fetch_limits.py"),
    FailureCode.STORE_FULL: ("the disk's trouble", "unit/downloader/test_fetch_limits.py"),
    FailureCode.ABANDONED: ("takes ten deaths of a worker", "unit/storage/test_claims.py"),
    FailureCode.INTERNAL: ("the mill's own fault", "unit/storage/test_fold.py"),
}
"""Why no server can cause it, and the test that reaches it."""


def test_every_code_is_reached_by_a_trouble_or_elsewhere_and_none_by_both() -> None:
    reached = {trouble.code for trouble in TROUBLES}

    assert reached | set(ELSEWHERE) == set(FailureCode)
    assert reached & set(ELSEWHERE) == set()


@pytest.mark.parametrize("family", [Family.NETWORK, Family.SERVER, Family.CONTENT])
def test_what_the_network_can_cause_is_never_left_to_others(family: Family) -> None:
    assert [code for code in ELSEWHERE if FAMILY_OF[code] is family] == []


@pytest.mark.parametrize("code", ELSEWHERE)
def test_the_test_elsewhere_names_the_code(code: FailureCode) -> None:
    _, path = ELSEWHERE[code]
    text = (ROOT / "tests" / path).read_text(encoding="utf-8")

    assert code.value in text


def test_every_case_has_a_name_and_a_path_of_its_own() -> None:
    paths = Counter([trouble.path for trouble in TROUBLES] + [oddity.path for oddity in ODDITIES])

    assert [path for path, number in paths.items() if number > 1] == []

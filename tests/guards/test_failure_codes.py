"""Every failure code is complete: a family, an entry for its reader, and an entry that tells the truth."""

from __future__ import annotations

import ast
import re

from imagemill.domain.failures import FAMILY_OF, FailureCode, Family
from tests.guards.tree import PRODUCT, ROOT, name, python_files

REFERENCE = ROOT / "docs" / "reference" / "error-codes.md"
_ENTRY = re.compile(r"^\| `(?P<code>[A-Z_]+)` \| (?P<meaning>[^|]+) \| (?P<retried>[^|]+) \| (?P<advice>[^|]+) \|$")
_FAMILY = re.compile(r"^## .*\(`(?P<family>[a-z]+)`\)$")


def entries() -> list[tuple[str, str, str]]:
    """Return (code, family, whether it is retried) of each entry of the reference, in its order."""
    found, family = [], ""
    for line in REFERENCE.read_text(encoding="utf-8").splitlines():
        if heading := _FAMILY.match(line):
            family = heading["family"]
        elif entry := _ENTRY.match(line):
            found.append((entry["code"], family, entry["retried"]))
    return found


def raised() -> list[tuple[str, str, str]]:
    """Return (error class, code, place) of each failure that the product raises with its code written out."""
    found: list[tuple[str, str, str]] = []
    for path in python_files():
        if path.relative_to(ROOT).parts[0] not in PRODUCT:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Name(id="TransientError" | "PermanentError" as error),
                    args=[ast.Attribute(value=ast.Name(id="FailureCode"), attr=code), *_],
                ):
                    found.append((error, code, f"{name(path)}:{node.lineno}"))
    return found


def test_every_code_has_a_family() -> None:
    assert set(FAMILY_OF) == set(FailureCode)


def test_a_codes_name_is_its_value() -> None:
    assert [code for code in FailureCode if code.name != code.value] == []


def test_every_code_has_exactly_one_entry_in_the_reference_under_its_family() -> None:
    expected = sorted((code.value, FAMILY_OF[code].value) for code in FailureCode)

    assert sorted((code, family) for code, family, _ in entries()) == expected


def test_every_family_has_codes() -> None:
    assert set(FAMILY_OF.values()) == set(Family)


def test_the_reference_says_yes_no_or_when_of_every_code() -> None:
    assert [code for code, _, retried in entries() if not retried.startswith(("yes", "no", "only"))] == []


def test_the_reference_agrees_with_the_code_on_what_is_retried() -> None:
    lies = {"TransientError": "no", "PermanentError": "yes"}
    documented = {code: retried for code, _, retried in entries()}

    assert [place for error, code, place in raised() if documented[code].startswith(lies[error])] == []

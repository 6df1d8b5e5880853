"""Files that no person writes: each is refused in a short sentence, and none takes memory, time or the process."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagemill.settings.documents import DocumentError, read_document
from imagemill.settings.groups import RunSettings
from imagemill.settings.loading import Sources, load
from imagemill.settings.problems import SettingsError

DIGITS = "1" * 5000
ALIASES = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{one}: &{one} [{','.join([f'*{before}'] * 10)}]\n" for before, one in zip("abcdefgh", "bcdefghi", strict=True)
)
"""A few hundred bytes that are a thousand million words when written out."""


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("s.json", "[" * 100_000, "lie in one another"),
        ("s.json", '{"a":' * 100_000, "lie in one another"),
        ("s.toml", "a = " + "[" * 100_000, "lie in one another"),
        ("s.yaml", "[" * 2000, "lie in one another"),
        ("s.yaml", "- " * 2000, "lie in one another"),
        ("s.json", DIGITS, "digits"),
        ("s.toml", f"a = {DIGITS}", "digits"),
        ("s.yaml", f"a: 1\nb: {DIGITS}", "line 2: this is not valid YAML: this value can't be read"),
        ("s.yaml", "a: 1\nb: 2020-13-41", "line 2: this is not valid YAML: this value can't be read"),
        ("s.yaml", 'a: !!int ""', "line 1: this is not valid YAML: this value can't be read"),
        ("s.yaml", "a: !!bool perhaps", "line 1: this is not valid YAML: this value can't be read"),
        ("s.yaml", "a: !!timestamp soon", "line 1: this is not valid YAML: this value can't be read"),
    ],
)
def test_what_can_not_be_read_is_said_in_a_sentence(name: str, text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)

    with pytest.raises(DocumentError, match=expected) as refused:
        read_document(path)

    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    "text", [f"{ALIASES}downloads: *i", f"downloads: 0x{DIGITS}", f"downloads: 5\n0x{DIGITS}: 6", 'profile: "\\e[31m"']
)
def test_a_wrong_setting_is_repeated_in_short_and_in_print(text: str, tmp_path: Path) -> None:
    path = tmp_path / "imagemill.yaml"
    path.write_text(text)

    with pytest.raises(SettingsError) as refused:
        load(RunSettings, Sources(file=str(path), environ={}, folder=None))

    assert all(len(problem) < 500 and problem.isprintable() for problem in refused.value.problems)

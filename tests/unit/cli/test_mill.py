"""The command's words for a mill that can't be opened."""

from __future__ import annotations

from pathlib import Path

import pytest

import imagemill.embedded
from imagemill.cli.exits import CommandError, ExitCode
from imagemill.cli.mill import open_embedded
from imagemill.cli.options import RunOptions
from imagemill.embedded import MachineTooSmall, MillInUse, StateUnreadable


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        (MachineTooSmall("Ask for fewer."), "Ask for fewer."),
        (
            StateUnreadable("It is damaged."),
            "It is damaged. Give another folder with --out, or mend this one. Delete it only if the file is damaged: "
            "with it goes all that is known of its batches.",
        ),
        (
            MillInUse("It is taken."),
            "Another imagemill is at work in pictures. Wait for it, or give another folder with --out.",
        ),
    ],
)
async def test_a_mill_that_cannot_be_opened_is_told_in_one_sentence_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, trouble: Exception, sentence: str
) -> None:
    def refuse(*told: object) -> None:
        raise trouble

    monkeypatch.setattr(imagemill.embedded, "open_mill", refuse)

    with pytest.raises(CommandError) as caught:
        async with open_embedded(RunOptions(sources=("urls.txt",), out=Path("pictures"))):
            pass

    assert (caught.value.message, caught.value.code) == (sentence, ExitCode.USAGE)

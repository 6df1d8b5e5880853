"""What the refusals of a mill mean for the command's user."""

from __future__ import annotations

import grpc
import pytest

from imagemill.cli.exits import CommandError, ExitCode
from imagemill.cli.options import mill_at
from imagemill.cli.remote import as_command_error
from imagemill.client import MillError, MillUnreachable


@pytest.mark.parametrize(
    ("error", "sentence", "code"),
    [
        (MillUnreachable("a:1"), "No mill answers at a:1. Start one with: imagemill up.", ExitCode.UNREACHABLE),
        (
            MillError("DEADLINE_EXCEEDED", "Too late.", status=grpc.StatusCode.DEADLINE_EXCEEDED),
            "The mill at a:1 does not answer in time",
            ExitCode.UNREACHABLE,
        ),
        (
            MillError("UNIMPLEMENTED", "What?", status=grpc.StatusCode.UNIMPLEMENTED),
            "What answers at a:1 is no mill",
            ExitCode.UNREACHABLE,
        ),
        (
            MillError("STATE_FORBIDS", "It is over.", status=grpc.StatusCode.FAILED_PRECONDITION),
            "It is over.",
            ExitCode.USAGE,
        ),
        (
            MillError(
                "BATCH_INVALID",
                "No.",
                status=grpc.StatusCode.INVALID_ARGUMENT,
                fields={"spec.batch_id": "is odd", "x": "is wrong"},
            ),
            "--batch-id: is odd\nx: is wrong",
            ExitCode.USAGE,
        ),
        (
            MillError("PART_UNAVAILABLE", "Its disk is full.", status=grpc.StatusCode.UNAVAILABLE),
            "Its disk is full.",
            ExitCode.BROKEN,
        ),
        (
            MillError("UNAVAILABLE", "It has said nothing.", status=grpc.StatusCode.UNAVAILABLE),
            "It has said nothing.",
            ExitCode.UNREACHABLE,
        ),
        (MillError("INTERNAL", "Its log says why.", status=grpc.StatusCode.INTERNAL), "Its log", ExitCode.BROKEN),
    ],
)
def test_each_refusal_has_its_words_and_its_exit_code(error: MillError, sentence: str, code: ExitCode) -> None:
    said = as_command_error(error, "a:1")

    assert said.message.startswith(sentence)
    assert said.code is code


@pytest.mark.parametrize("to", ["127.0.0.1:50051", "mill.example:1", "[::1]:50051", "unix:/run/mill.sock"])
def test_an_address_is_taken(to: str) -> None:
    assert mill_at(to) == to


@pytest.mark.parametrize("to", ["", "50051", "localhost", "::1:50051", "http://mill:50051", "a b:1", "mill:port"])
def test_what_is_no_address_is_refused_before_anything_is_dialled(to: str) -> None:
    with pytest.raises(CommandError, match="this is no address"):
        mill_at(to)

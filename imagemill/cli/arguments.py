"""What can be typed after a command: each argument's name, help and form, shared by the commands that take it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, Token

from imagemill.settings.groups import DEFAULT_TARGET


def _whole_number(kind: type, tokens: Sequence[Token]) -> int:
    """Read a whole number; the parser's own way would take 16.9 for 16."""
    (token,) = tokens
    try:
        return int(token.value)
    except ValueError:
        raise ValueError(f"{token.keyword} {token.value}: give a whole number.") from None


def _folder(kind: type, tokens: Sequence[Token]) -> Path:
    """Read a folder; an empty word, such as an unset variable makes, would mean the present one."""
    (token,) = tokens
    if not token.value:
        raise ValueError(f"{token.keyword} is empty; say where the results go: {token.keyword} pictures.")
    return Path(token.value)


Sources = Annotated[
    str,
    Parameter(
        help="One list file with a URL per line, - for standard input, or URLs. Example: urls.txt",
        allow_leading_hyphen=True,
    ),
]
StartAt = Annotated[
    int,
    Parameter(
        converter=_whole_number,
        help="The line of the list at which to begin, counted from 1; what stands before it is left out. "
        "Example: --start-at 5000",
    ),
]
Out = Annotated[
    Path,
    Parameter(
        name=["--out", "-o"],
        converter=_folder,
        help="The folder for pictures, manifest.csv and report.json; made when missing. Example: -o pictures",
    ),
]
RetryFailed = Annotated[
    bool,
    Parameter(negative="", help="Try again what failed in an earlier run of this list. Example: --retry-failed"),
]
Json = Annotated[
    bool,
    Parameter(
        negative="",
        help="One JSON object per change on standard output, nothing else. Example: --json | jq",
    ),
]
Quiet = Annotated[bool, Parameter(name=["--quiet", "-q"], negative="", help="Show only errors. Example: -q")]
Verbose = Annotated[
    bool,
    Parameter(
        name=["--verbose", "-v"],
        negative="",
        help="Show the log on standard error. Example: -v 2>log",
    ),
]
To = Annotated[
    str | None,
    Parameter(
        help="Where the mill is: HOST:PORT, or unix:/path of a socket. Example: --to 127.0.0.1:50052",
        show_default=lambda _: DEFAULT_TARGET,
    ),
]
HealthName = Annotated[
    str,
    Parameter(
        name="--service",
        show_default=False,
        help="One of the services behind that address, by its full name; all of them if not given. "
        "Example: --service imagemill.v1.BatchService",
    ),
]
Output = Annotated[
    Literal["text", "json"],
    Parameter(name=["--output", "-o"], help="Text for people, or JSON for programs. Example: -o json | jq"),
]
BatchName = Annotated[
    str,
    Parameter(
        name="batch",
        help="A batch: its name, its id, or the beginning of its id if no other begins so. Example: urls-3f9a",
    ),
]
OptionalBatchName = Annotated[
    str,
    Parameter(name="batch", help="As in the other commands; not with --all. Example: urls-3f9a", show_default=False),
]
AllBatches = Annotated[
    bool,
    Parameter(name="--all", negative="", help="Follow every batch, those to come included. Example: --all"),
]
Links = Annotated[bool, Parameter(negative="", help="Give a link to each picture. Example: --links")]
LinkHours = Annotated[
    int | None,
    Parameter(
        converter=_whole_number,
        help="How long these links hold, in hours, 1 to 168; 24 with --links alone. Example: --link-hours 72",
    ),
]
Limit = Annotated[
    int,
    Parameter(converter=_whole_number, help="Show at most so many; 0 shows all. Example: --limit 100"),
]
States = Annotated[
    tuple[
        Literal[
            "pending",
            "queued",
            "downloading",
            "downloaded",
            "processing",
            "succeeded",
            "failed",
            "skipped",
            "cancelled",
        ],
        ...,
    ],
    Parameter(
        name="--state",
        negative="",
        help="Only items in this state; may be given several times. Example: --state failed",
    ),
]
ErrorCodes = Annotated[
    tuple[str, ...],
    Parameter(
        name="--error",
        negative="",
        help="Only items that failed with this code; may be given several times. Example: --error READ_TIMEOUT",
    ),
]
DisplayName = Annotated[
    str,
    Parameter(
        name="--name", show_default=False, help='A name for people; the list\'s if not given. Example: --name "Spring"'
    ),
]
Priority = Annotated[
    int,
    Parameter(
        converter=_whole_number,
        help="Weight against other batches at work, 1 to 100: twice the number, twice the share. "
        "Example: --priority 50",
    ),
]
BatchId = Annotated[
    str,
    Parameter(
        name="--batch-id",
        show_default=False,
        help="The id of the new batch, of a-z, 0-9 and hyphens; made of the list and the recipe if not given, so that "
        "the same list is not taken twice. Example: --batch-id spring-2",
    ),
]
RequestId = Annotated[
    str,
    Parameter(
        name="--request-id",
        show_default=False,
        help="For programs: whatever comes under the same request id is one batch. Example: --request-id order-4711",
    ),
]
Watch = Annotated[bool, Parameter(negative="", help="Follow the batch to its end, as watch does. Example: --watch")]
Shell = Annotated[
    Literal["bash", "zsh", "fish"],
    Parameter(help="The shell to write for. Example: bash"),
]

"""The `imagemill` command: what can be typed, and what it means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CoercionError, CycloptsError, MissingArgumentError, Parameter, Token

from imagemill import __version__


def _in_a_sentence(error: CycloptsError) -> str:
    if isinstance(error, MissingArgumentError) and error.argument is not None and error.argument.name == "--out":
        return "imagemill: Say where the results go: -o pictures."
    if isinstance(error, CoercionError) and error.msg:
        # One of ours, from a converter below: it names the option already.
        return f"imagemill: {error.msg}"
    return f"imagemill: {error}"


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


app = App(
    name="imagemill",
    help="A list of image URLs in, finished pictures out, every item accounted for.",
    version=__version__,
    error_formatter=_in_a_sentence,
    help_format="plaintext",
    # A switch that is off, or an empty list, needs no words.
    default_parameter=Parameter(show_default=lambda value: str(value) if value else None),
)

Sources = Annotated[
    str,
    Parameter(
        help="One list file with a URL per line, - for standard input, or URLs. Example: urls.txt",
        allow_leading_hyphen=True,
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
RecipeName = Annotated[
    str,
    Parameter(
        help="What is made of each picture: standard, half, dataset-256, or a file. Example: --recipe recipe.yaml"
    ),
]
AllowNet = Annotated[
    tuple[str, ...],
    Parameter(
        negative="",
        help="A private network that URLs may lead to; may be given several times. Example: --allow-net 10.0.0.0/8",
    ),
]
Concurrency = Annotated[
    int,
    Parameter(
        converter=_whole_number,
        help="Downloads at a time, over all hosts; --per-host bounds those from one. Example: --concurrency 16",
    ),
]
PerHost = Annotated[
    int,
    Parameter(
        converter=_whole_number,
        help="Connections to one host at a time; a list from a single host is bound by it. Example: --per-host 16",
    ),
]
Timeout = Annotated[float, Parameter(help="Seconds that one download may take. Example: --timeout 60")]
Retries = Annotated[
    int,
    Parameter(
        converter=_whole_number,
        help="Further attempts after trouble that may pass. Where it may pass at once (503, a broken connection), each "
        "attempt makes up to two quick tries more: up to 3 requests an attempt. Example: --retries 5",
    ),
]
Children = Annotated[
    int | None,
    Parameter(
        converter=_whole_number,
        help="Rendering processes; as many as there are cores if not given. Example: --children 4",
    ),
]
KeepOriginals = Annotated[
    bool,
    Parameter(negative="", help="Keep the downloaded files in OUT/.imagemill. Example: --keep-originals"),
]
DurabilityChoice = Annotated[
    Literal["process", "power"],
    Parameter(
        help="What finished work survives: the end of any process, or a power cut too (slower). "
        "Example: --durability power"
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


@app.command
def run(
    *sources: Sources,
    out: Out,
    recipe: RecipeName = "standard",
    allow_net: AllowNet = (),
    concurrency: Concurrency = 50,
    per_host: PerHost = 8,
    timeout: Timeout = 30.0,
    retries: Retries = 3,
    children: Children = None,
    keep_originals: KeepOriginals = False,
    durability: DurabilityChoice = "process",
    retry_failed: RetryFailed = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Fetch the pictures of a list and render them.

    Run the same command again after an interruption: it goes on where it stopped.
    """
    # Here, not above: help must not wait for what only a run needs.
    from imagemill.cli.options import RunOptions
    from imagemill.cli.run import run_command

    options = RunOptions(
        sources=sources,
        out=out,
        recipe=recipe,
        allow_net=allow_net,
        concurrency=concurrency,
        per_host=per_host,
        timeout=timeout,
        retries=retries,
        children=children,
        keep_originals=keep_originals,
        durability=durability,
        retry_failed=retry_failed,
        json=json,
        quiet=quiet,
        verbose=verbose,
    )
    return int(run_command(options))


@app.command
def demo(*, out: Out = Path("demo"), verbose: Verbose = False) -> int:
    """Show a run on a local server with about 60 good pictures and some trouble."""
    from imagemill.cli.demo import demo_command

    return int(demo_command(out, verbose=verbose))

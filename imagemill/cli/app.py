"""The `imagemill` command: what can be typed, and what it means."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import indent

from cyclopts import App, CycloptsError, Group, Parameter

from imagemill import __version__
from imagemill.cli import arguments as a
from imagemill.cli.batch_commands import BATCH_COMMANDS
from imagemill.cli.complaints import complaint
from imagemill.cli.exits import CommandError, ExitCode
from imagemill.cli.output import tell_error
from imagemill.cli.service_commands import SERVICE_COMMANDS, dead_app
from imagemill.cli.setting_options import RunWords, UpWords
from imagemill.cli.settings_app import settings_app

HERE = Group.create_ordered("A list, worked off here and now")
SERVER = Group.create_ordered("A mill as a server, and its batches")
SERVICES = Group.create_ordered("The services of a mill, one by one")
REST = Group.create_ordered("Further")

app = App(
    name="imagemill",
    help="A list of image URLs in, finished pictures out, every item accounted for.",
    help_epilogue="Each command explains itself, with examples: imagemill run --help",
    version=__version__,
    help_format="plaintext",
    # A switch that is off, or an empty list, needs no words.
    default_parameter=Parameter(show_default=lambda value: str(value) if value else None),
    group_commands=REST,
)


def run_words(words: Sequence[str] | None = None) -> int:
    """Do what the words ask for, those of this process if None, and return the exit code."""
    try:
        result = app(words, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        tell_error(complaint(error))
        return ExitCode.USAGE
    except CommandError as error:
        tell_error(error.message)
        return error.code
    return int(result) if isinstance(result, int) else ExitCode.OK


@app.command(
    group=HERE,
    help_epilogue="""Examples:
  imagemill run urls.txt -o pictures
  imagemill run urls.txt -o pictures --recipe dataset-256 --retry-failed
  zcat urls.txt.gz | imagemill run - -o pictures --json""",
)
def run(
    *sources: a.Sources,
    out: a.Out,
    start_at: a.StartAt = 1,
    retry_failed: a.RetryFailed = False,
    json: a.Json = False,
    quiet: a.Quiet = False,
    verbose: a.Verbose = False,
    told: RunWords = RunWords(),
) -> int:
    """Fetch the pictures of a list and render them.

    Run the same command again after an interruption: it goes on where it stopped.

    Most options can be set elsewhere, too: imagemill settings --help.
    """
    # Here, not above: help must not wait for what only a run needs.
    from imagemill.cli.options import RunOptions
    from imagemill.cli.run import run_command

    options = RunOptions(
        sources=sources,
        out=out,
        start_at=start_at,
        told=told.sources,
        retry_failed=retry_failed,
        json=json,
        quiet=quiet,
        verbose=verbose,
    )
    return int(run_command(options))


@app.command(group=HERE, help_epilogue="Examples:\n  imagemill demo\n  imagemill demo -o somewhere -v")
def demo(*, out: a.Out = Path("demo"), verbose: a.Verbose = False) -> int:
    """Show a run of 60 pictures, some of them trouble, on a local server."""
    from imagemill.cli.demo import demo_command

    return int(demo_command(out, verbose=verbose))


@app.command(
    group=SERVER,
    sort_key=0,
    help_epilogue="""Examples:
  imagemill up
  imagemill up --data /srv/mill --listen 127.0.0.1:50052 --downloads 100""",
)
def up(
    *,
    quiet: a.Quiet = False,
    verbose: a.Verbose = False,
    told: UpWords = UpWords(),
) -> int:
    """Run a mill that takes in batches until it is stopped.

    The other commands of this group hand batches in and look after them. Each
    batch's pictures, manifest.csv and report.json appear in a folder of its own,
    DATA/pictures/BATCH. What is unfinished when the mill stops, however it stops,
    goes on at the next start with the same --data.
    """
    from imagemill.cli.options import UpOptions
    from imagemill.cli.up import up_command

    return int(up_command(UpOptions(told=told.sources, quiet=quiet, verbose=verbose)))


@app.command(
    group=REST,
    help_epilogue="""Examples:
  source <(imagemill completion bash)
  imagemill completion zsh > ~/.zfunc/_imagemill
  imagemill completion fish > ~/.config/fish/completions/imagemill.fish""",
)
def completion(shell: a.Shell, /) -> int:
    """Write what makes a shell complete this command's words, to standard output."""
    sys.stdout.write(f"{app.generate_completion(shell=shell)}\n")
    return ExitCode.OK


settings_app.group = REST
app.command(settings_app)

dead_app.group, dead_app.sort_key = SERVICES, len(SERVICE_COMMANDS)
app.command(dead_app)
for place, (command, examples) in enumerate(SERVICE_COMMANDS):
    app.command(command, group=SERVICES, sort_key=place, help_epilogue=f"Examples:\n{indent(examples, '  ')}")

for place, (command, examples) in enumerate(BATCH_COMMANDS, 1):
    app.command(command, group=SERVER, sort_key=place, help_epilogue=f"Examples:\n{indent(examples, '  ')}")

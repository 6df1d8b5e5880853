"""What the parser of the command line finds wrong, in our words: what, and what to do."""

from __future__ import annotations

from cyclopts import CoercionError, CycloptsError, MissingArgumentError, UnknownCommandError, UnknownOptionError
from cyclopts.exceptions import RepeatArgumentError, UnusedCliTokensError

_MISSING = {
    "--out": "Say where the results go: -o pictures.",
    "batch": "Say which batch: imagemill list shows them.",
    "SHELL": "Say for which shell: bash, zsh or fish.",
}


def complaint(error: CycloptsError) -> str:
    """Say in a sentence what is wrong with what was typed."""
    command = " ".join(["imagemill", *(error.command_chain or ())])
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        name = error.argument.name
        return _MISSING.get(name, f"{error.keyword or name} needs a value; {command} --help shows one.")
    if isinstance(error, CoercionError) and error.msg:
        # One of ours, from a converter: it names the option already.
        return str(error.msg)
    if isinstance(error, UnknownOptionError | UnknownCommandError):
        # The first two sentences: what is unknown, and what may have been meant.
        known = str(error).split(" Available commands:", 1)[0].strip().replace('"', "")
        return f"{known} {command} --help lists them all."
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return f"{error.unused_tokens[0]!r} is one word too many; {command} --help shows what may be given."
    if isinstance(error, RepeatArgumentError):
        return f"{_option(error)} is given twice; once is enough."
    return str(error).strip()


def _option(error: RepeatArgumentError) -> str:
    return error.token.keyword or error.token.value

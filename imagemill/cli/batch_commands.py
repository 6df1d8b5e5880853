"""The commands that hand batches to a running mill and look after them."""

from __future__ import annotations

from collections.abc import Callable

from imagemill.cli import arguments as a
from imagemill.cli.exits import CommandError
from imagemill.cli.setting_options import SubmitWords


def submit(
    *sources: a.Sources,
    watch: a.Watch = False,
    name: a.DisplayName = "",
    priority: a.Priority = 10,
    start_at: a.StartAt = 1,
    batch_id: a.BatchId = "",
    request_id: a.RequestId = "",
    output: a.Output = "text",
    told: SubmitWords = SubmitWords(),
) -> int:
    """Hand a list in as a batch, and print the batch's name.

    The name stands on standard output, everything else on standard error. The
    same command again takes up what an interruption left half handed in, and
    makes no second batch of the same list and recipe; --batch-id does.
    """
    # Here, not above, as in all commands: help must not wait for what only the work needs.
    from imagemill.cli.options import SubmitOptions
    from imagemill.cli.submit import submit_command

    options = SubmitOptions(
        sources=sources,
        told=told.sources,
        name=name,
        priority=priority,
        batch_id=batch_id,
        request_id=request_id,
        start_at=start_at,
        watch=watch,
        json=output == "json",
    )
    return int(submit_command(options))


def watch(
    batch: a.OptionalBatchName = "",
    /,
    *,
    every: a.AllBatches = False,
    to: a.To = None,
    output: a.Output = "text",
) -> int:
    """Follow a batch to its end, through restarts of the mill.

    Ctrl-C ends the watch and leaves the batch at work. The exit code is that of
    run: 1 when some items failed.
    """
    from imagemill.cli.watching import watch_all_command, watch_command

    if batch and every:
        raise CommandError("Say one batch or --all, not both.")
    as_json = output == "json"
    return int(watch_all_command(to, as_json) if every else watch_command(batch, to, as_json))


def list_(*, limit: a.Limit = 20, to: a.To = None, output: a.Output = "text") -> int:
    """List the batches, newest first."""
    from imagemill.cli.listing import list_command

    return int(list_command(limit, to, output == "json"))


def get(batch: a.BatchName, /, *, to: a.To = None, output: a.Output = "text") -> int:
    """Show one batch."""
    from imagemill.cli.listing import get_command

    return int(get_command(batch, to, output == "json"))


def items(
    batch: a.BatchName,
    /,
    *,
    state: a.States = (),
    error: a.ErrorCodes = (),
    limit: a.Limit = 0,
    links: a.Links = False,
    link_hours: a.LinkHours = None,
    to: a.To = None,
    output: a.Output = "text",
) -> int:
    """List a batch's items in the order of its list, with what became of each.

    With --links each picture has a link that gives it to whoever has the link:
    over the network when the mill keeps its pictures in an object store, else a
    path in the mill's own folder.
    """
    from imagemill.cli.listing import USUAL_LINK_H, ItemsWanted, items_command

    if links and link_hours is None:
        link_hours = USUAL_LINK_H
    wanted = ItemsWanted(state, error, limit, link_hours)
    return int(items_command(batch, wanted, to, output == "json"))


def report(batch: a.BatchName, /, *, to: a.To = None, output: a.Output = "text") -> int:
    """Say in figures what has become of a batch, at any time."""
    from imagemill.cli.listing import report_command

    return int(report_command(batch, to, output == "json"))


def pause(batch: a.BatchName, /, *, to: a.To = None, output: a.Output = "text") -> int:
    """Take up no more items of a batch; what is in flight ends."""
    from imagemill.cli.control import pause_command

    return int(pause_command(batch, to, output == "json"))


def resume(batch: a.BatchName, /, *, to: a.To = None, output: a.Output = "text") -> int:
    """Let a paused batch go on."""
    from imagemill.cli.control import resume_command

    return int(resume_command(batch, to, output == "json"))


def cancel(batch: a.BatchName, /, *, to: a.To = None, output: a.Output = "text") -> int:
    """Give a batch up for good; what is finished stays."""
    from imagemill.cli.control import cancel_command

    return int(cancel_command(batch, to, output == "json"))


def retry(
    batch: a.BatchName,
    /,
    *,
    error: a.ErrorCodes = (),
    to: a.To = None,
    output: a.Output = "text",
) -> int:
    """Try failed items of a batch again, all or those with some error codes."""
    from imagemill.cli.control import retry_command

    return int(retry_command(batch, error, to, output == "json"))


BATCH_COMMANDS: tuple[tuple[Callable[..., int], str], ...] = (
    (
        submit,
        """imagemill submit urls.txt --watch
imagemill submit urls.txt --name "Spring" --priority 50 --recipe half
batch=$(imagemill submit urls.txt) && imagemill watch "$batch\"""",
    ),
    (
        watch,
        """imagemill watch urls-3f9a
imagemill watch --all
imagemill watch urls-3f9a -o json | jq -r .error_code""",
    ),
    (
        list_,
        """imagemill list
imagemill list --limit 0 -o json | jq -r 'select(.state == "PAUSED") | .name'""",
    ),
    (get, "imagemill get urls-3f9a\nimagemill get urls-3f9a -o json | jq .counts"),
    (
        items,
        """imagemill items urls-3f9a --state failed
imagemill items urls-3f9a --error READ_TIMEOUT -o json | jq -r .source
imagemill items urls-3f9a --links -o json | jq -r '.renders[]?.url'""",
    ),
    (report, "imagemill report urls-3f9a\nimagemill report urls-3f9a -o json | jq .errors"),
    (pause, "imagemill pause urls-3f9a"),
    (resume, "imagemill resume urls-3f9a"),
    (cancel, "imagemill cancel urls-3f9a"),
    (retry, "imagemill retry urls-3f9a\nimagemill retry urls-3f9a --error READ_TIMEOUT --error TOO_SLOW"),
)
"""Each command with examples for its help, in the order in which one meets them."""

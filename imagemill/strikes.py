"""The moments at which a test may have a process die: all of them, between any two effects of the hot path.

An effect is what outlives the process: a file put under its key, a message published, one acknowledged, a transaction
committed. After each of them the code says which point it has passed. That does nothing, unless the process was started
with IMAGEMILL_TEST_STRIKE="label:n": then it kills itself with SIGKILL as it passes that point for the n-th time.
"""

from __future__ import annotations

import os
import signal
from enum import Enum
from itertools import count

VARIABLE = "IMAGEMILL_TEST_STRIKE"


class Point(Enum):
    """A moment, with its label: what has been done, and what has not."""

    INTAKE_OPENED = "intake-opened"
    """Gateway: the batch is opened in the store; none of its items is there."""
    INTAKE_APPENDED = "intake-appended"
    """Gateway: a chunk of items is stored; the next one is not read, and the batch is not sealed."""
    INTAKE_SEALED = "intake-sealed"
    """Gateway: the batch is ACTIVE; its caller has no answer."""
    CLAIM_ANSWERED = "claim-answered"
    """Gateway: items are claimed for it; none of them is published."""
    JOBS_PUBLISHED = "jobs-published"
    """Gateway: jobs of one batch are on a work queue; the claim is not recorded as published."""
    CLAIM_RECORDED = "claim-recorded"
    """Gateway: the claim is recorded as published; the next one is not made."""

    ORIGINAL_KEPT = "original-kept"
    """Downloader: an original lies under its key; nobody else knows of it."""
    JOB_HANDLED = "job-handled"
    """Worker: one job is done, its files are where they belong; nothing of it is published."""
    GROUP_DURABLE = "group-durable"
    """Worker: the files of a group of outcomes are durable; nothing of the group is published."""
    NEXT_JOBS_PUBLISHED = "next-jobs-published"
    """Worker: jobs for the next stage are on its queue; the events of the group are not published."""
    EVENTS_PUBLISHED = "events-published"
    """Worker: the events of a group are on their queue; none of the messages it came of is acknowledged."""
    OUTCOME_TOLD = "outcome-told"
    """Worker: one job of a group is accounted for, and with a message's last job the message is acknowledged."""
    JOBS_ACKNOWLEDGED = "jobs-acknowledged"
    """Worker: a message of jobs is acknowledged; the acknowledgement may not have left the process."""
    RENDER_STORED = "render-stored"
    """Processor: a render lies under its key; further ones of the same picture may not."""
    UNDECODABLE_STORED = "undecodable-stored"
    """Processor: what can't be decoded is put aside; nothing is published of it."""

    CHUNK_COMMITTED = "chunk-committed"
    """Storage: a batch is opened, or a chunk of it stored, or it is sealed; the gateway has no answer."""
    CLAIM_COMMITTED = "claim-committed"
    """Storage: a claim is made, or recorded as published; the gateway has no answer."""
    GROUP_FOLDED = "group-folded"
    """Storage: a group of events is in the rows; none of its messages is acknowledged."""
    EVENTS_ACKNOWLEDGED = "events-acknowledged"
    """Storage: some messages of a group that is folded are acknowledged, others may not be."""
    ORIGINALS_DELETED = "originals-deleted"
    """Storage: originals that are done with are deleted."""
    ORPHANS_DELETED = "orphans-deleted"
    """Storage: files of an ended batch that no row speaks of are deleted; the transaction around it is open."""
    DEAD_LETTER_SETTLED = "dead-letter-settled"
    """Storage: a dead letter's items are reported to be claimed again; the letter is not acknowledged."""
    DEAD_LETTER_ACKNOWLEDGED = "dead-letter-acknowledged"
    """Storage: a dead letter is acknowledged or buried."""

    UNIT_WRITTEN = "unit-written"
    """Database: everything of a transaction is written; it is not committed."""
    UNIT_COMMITTED = "unit-committed"
    """Database: a transaction is committed; nobody has been told."""
    MESSAGE_CONFIRMED = "message-confirmed"
    """RabbitMQ: one message is confirmed; others that were sent with it may not be."""
    ACKS_SENT = "acks-sent"
    """RabbitMQ: acknowledgements have been handed to the connection; further ones are gathered."""
    MESSAGE_SETTLED = "message-settled"
    """In-process queue: a message is acknowledged; nothing of what follows is done."""


class _Plan:
    """The point at which this process dies, and how often it is passed before."""

    def __init__(self, told: str) -> None:
        label, _, number = told.partition(":")
        self._point = Point(label)
        self._fatal = int(number or 1)
        self._passed = count(1)

    def passes(self, point: Point) -> None:
        if point is self._point and next(self._passed) == self._fatal:
            os.write(2, mark(point).encode())
            os.kill(os.getpid(), signal.SIGKILL)


def mark(point: Point) -> str:
    """The line that a process leaves on standard error when it strikes itself."""
    return f"struck at {point.value}\n"


_plan = _Plan(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None


def strike(point: Point) -> None:
    """Say that a point is passed."""
    if _plan is not None:
        _plan.passes(point)

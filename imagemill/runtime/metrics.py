"""What a process counts and measures of itself.

Labels have few values, all of them known to the code: never a URL, a host, or the id of a batch.
`imagemill.runtime.exposition` shows the metrics; without it nobody looks, and each costs a fraction of a microsecond.
"""

from __future__ import annotations

from imagemill.domain.failures import FailureCode
from imagemill.domain.items import State
from imagemill.runtime.metric_kinds import ALL as ALL
from imagemill.runtime.metric_kinds import Counter, Gauge, Histogram

GATEWAY, DOWNLOADER, PROCESSOR, STORAGE = SERVICES = ("gateway", "downloader", "processor", "storage")

_NONE = ("",)
_CODES = tuple(code.value for code in FailureCode)
_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds, from what a small picture takes to the longest deadline."""
_STAGES = (DOWNLOADER, PROCESSOR)
_QUEUES = ("imagemill.download", "imagemill.process", "imagemill.events")

# -- items

ITEMS = Gauge(
    "imagemill_items",
    "Items of batches that have not ended, by state.",
    services=(STORAGE,),
    labels=("state",),
    known=(tuple(state.name for state in State),),
)
ITEMS_FINISHED = Counter(
    "imagemill_items_finished_total",
    "Items that became final, by state and error code (empty for those without an error).",
    services=(STORAGE,),
    labels=("state", "error_code"),
)
ITEMS_FINISHED.values.update(
    dict.fromkeys(
        [
            ("SUCCEEDED", ""),
            *(("FAILED", code) for code in _CODES),
            ("SKIPPED", FailureCode.SKIPPED_BY_INPUT.value),
            ("CANCELLED", ""),
        ],
        0,
    )
)
ITEM_RETRIES = Counter(
    "imagemill_item_retries_total",
    "Attempts that failed and are followed by another one, by error code (empty where the mill itself asks for one).",
    services=(STORAGE,),
    labels=("error_code",),
    known=((*_NONE, *_CODES),),
)
OPERATION_SECONDS = Histogram(
    "imagemill_operation_duration_seconds",
    "How long the parts of a finished item's last attempt took.",
    services=(STORAGE,),
    bounds=_SHORT,
    labels=("operation",),
    known=(("download", "decode", "resize", "encode", "store"),),
)
BATCHES = Gauge(
    "imagemill_batches",
    "Batches that have not ended, by state.",
    services=(STORAGE,),
    labels=("state",),
    known=(("RECEIVING", "ACTIVE", "PAUSED", "CANCELLING"),),
)
OLDEST_DUE_SECONDS = Gauge(
    "imagemill_oldest_due_item_age_seconds",
    "How long the item that has waited longest to be handed to the queues has been due; 0 when none is.",
    services=(STORAGE,),
)
OLDEST_CLAIM_SECONDS = Gauge(
    "imagemill_oldest_claim_age_seconds",
    "How long ago the oldest claim was made of which something is still in flight; 0 when nothing is.",
    services=(STORAGE,),
)

# -- the conveyor

QUEUE_MESSAGES = Gauge(
    "imagemill_queue_messages",
    "Messages that wait on a queue, among its dead letters, or buried; without those in a worker's hand.",
    services=(STORAGE,),
    labels=("queue", "kind"),
    known=(_QUEUES, ("waiting", "dead", "buried")),
)
WINDOW_ITEMS = Gauge(
    "imagemill_window_items",
    "The most items that may be in flight, by the latest measure of the throughput.",
    services=(GATEWAY,),
)
CLAIMS = Counter(
    "imagemill_claims_total",
    "Claims that brought items.",
    services=(GATEWAY,),
)
CLAIMED_ITEMS = Counter(
    "imagemill_claimed_items_total",
    "Items claimed: for the first time, for another attempt (retry), or again in the same one, since what became of "
    "the claim before is not known (redrive).",
    services=(GATEWAY,),
    labels=("reason",),
    known=(("first", "retry", "redrive"),),
)
REDELIVERED = Counter(
    "imagemill_redelivered_messages_total",
    "Messages that came to a worker again.",
    services=_STAGES,
    labels=("queue",),
    known=(_QUEUES[:2],),
)
DEAD_LETTERS = Counter(
    "imagemill_dead_letters_total",
    "Messages that a queue gave up: taken up once more (again), or put aside for people (buried).",
    services=(STORAGE,),
    labels=("queue", "outcome"),
    known=(_QUEUES, ("again", "buried")),
)

# -- the workers

JOB_SECONDS = Histogram(
    "imagemill_job_duration_seconds",
    "How long a worker had a job in hand.",
    services=_STAGES,
    bounds=_SHORT,
    labels=("queue",),
    known=(_QUEUES[:2],),
)
JOBS_IN_HAND = Gauge(
    "imagemill_jobs_in_hand",
    "Jobs that a worker is at.",
    services=_STAGES,
    labels=("queue",),
    known=(_QUEUES[:2],),
)
DOWNLOADED_BYTES = Counter(
    "imagemill_downloaded_bytes_total",
    "Bytes of pictures that were downloaded whole.",
    services=(DOWNLOADER,),
)
RENDERED_BYTES = Counter(
    "imagemill_rendered_bytes_total",
    "Bytes of pictures that were made and stored.",
    services=(PROCESSOR,),
)
CHILDREN = Gauge(
    "imagemill_rendering_processes",
    "Rendering processes that live.",
    services=(PROCESSOR,),
)
CHILDREN_BYTES = Gauge(
    "imagemill_rendering_processes_resident_memory_bytes",
    "Memory of the rendering processes together.",
    services=(PROCESSOR,),
)
CHILD_RESTARTS = Counter(
    "imagemill_rendering_process_restarts_total",
    "Rendering processes that were replaced: after their share of pictures (worn), for taking too long (overdue), or "
    "because they died (crashed).",
    services=(PROCESSOR,),
    labels=("reason",),
    known=(("worn", "overdue", "crashed"),),
)

# -- the store

FOLD_EVENTS = Histogram(
    "imagemill_fold_group_events",
    "Events that were folded together.",
    services=(STORAGE,),
    bounds=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
)
FOLD_LAG_SECONDS = Histogram(
    "imagemill_fold_lag_seconds",
    "From the arrival of a group's first event to its commit.",
    services=(STORAGE,),
    bounds=_SHORT,
)
WATCHERS = Gauge(
    "imagemill_watchers",
    "Open watches, of one batch or of all.",
    services=(STORAGE,),
    labels=("of",),
    known=(("batch", "all"),),
)

# -- every service

CALLS = Counter(
    "imagemill_grpc_calls_total",
    "Calls that were answered, by method and status code.",
    services=SERVICES,
    labels=("method", "code"),
)
CALL_SECONDS = Histogram(
    "imagemill_grpc_call_duration_seconds",
    "How long calls with one answer took; ClaimItems waits for work.",
    services=SERVICES,
    bounds=_SHORT,
    labels=("method",),
)
PART_UP = Gauge(
    "imagemill_part_up",
    "Whether a part that the process needs is there: 1 when it is.",
    services=SERVICES,
    labels=("part",),
)
BUILD_INFO = Gauge(
    "imagemill_build_info",
    "1; its label tells the version.",
    services=SERVICES,
    labels=("version",),
)

"""Rows to domain values and back, written by hand: the one place that knows how facts are spread over columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import RowMapping

from imagemill.adapters.sql.schema import COUNT_COLUMNS
from imagemill.domain.batches import Batch, BatchState, Counts
from imagemill.domain.failures import Failure, FailureCode
from imagemill.domain.items import Facts, Head, ItemRow, Original, Render, State, Timings

FACT_COLUMNS = (
    "tries", "error_code", "error_message", "http_status",
    "sha256", "size_bytes", "format", "width", "height", "mode", "original_key", "original_status", "remarks",
    "renders", "rendered_bytes",
    "download_ms", "decode_ms", "resize_ms", "encode_ms", "store_ms", "cpu_ms",
)  # fmt: skip

_TIMING_COLUMNS = FACT_COLUMNS[-6:]
COUNTS = tuple(zip(State, COUNT_COLUMNS, strict=True))
_NO_FAILURE = (None,) * 3
_NO_ORIGINAL = (None,) * 9
_NO_TIMINGS = (None,) * 6


def fact_values(facts: Facts) -> tuple[Any, ...]:
    """The values of FACT_COLUMNS; the whole block, so that no column of an older try survives."""
    failure, original, timings = facts.failure, facts.original, facts.timings
    return (
        _tries(facts),
        *((failure.code.value, failure.message, failure.http_status) if failure else _NO_FAILURE),
        *(_original_values(original) if original else _NO_ORIGINAL),
        *((_dump_renders(facts.renders), sum(render.size_bytes for render in facts.renders))
          if facts.renders else (None, None)),
        *((timings.download_ms, timings.decode_ms, timings.resize_ms, timings.encode_ms, timings.store_ms,
           timings.cpu_ms) if timings else _NO_TIMINGS),
    )  # fmt: skip


def _tries(facts: Facts) -> int | None:
    """The tries of the download: one column for both who know of them, since the failure is of the download or not."""
    if facts.original is not None:
        return facts.original.tries
    return facts.failure.tries if facts.failure is not None else None


def _original_values(original: Original) -> tuple[Any, ...]:
    remarks = None
    if original.exif or original.warnings or original.undecodable_key:
        found = {"exif": dict(original.exif), "warnings": original.warnings}
        # Few rows have it: a column would cost all of them.
        aside = {"undecodable_key": original.undecodable_key} if original.undecodable_key else {}
        remarks = _dumps(found | aside)
    return (
        original.sha256,
        original.size_bytes,
        original.format,
        original.width,
        original.height,
        original.mode,
        original.key or None,
        original.http_status,
        remarks,
    )


def _dump_renders(renders: tuple[Render, ...]) -> str:
    return _dumps([[r.variant, r.key, r.format, r.width, r.height, r.size_bytes] for r in renders])


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def item_from(row: RowMapping) -> ItemRow:
    """The item of a row of the items table."""
    return ItemRow(
        batch_id=row["batch_id"],
        index=row["idx"],
        source=row["source"],
        source_row=row["source_row"],
        head=head_from(row),
        facts=facts_from(row),
        duplicate_of=row["duplicate_of"],
        revision=row["revision"],
        finished_at=row["finished_at"],
    )


def head_from(row: RowMapping) -> Head:
    """The head of a row of the items table."""
    return Head(State(row["state"]), row["attempt"], row["claims"])


def facts_from(row: RowMapping) -> Facts:
    """The facts of a row of the items table."""
    return Facts(_failure_from(row), original_from(row), _renders_from(row["renders"]), _timings_from(row))


def _failure_from(row: RowMapping) -> Failure | None:
    if row["error_code"] is None:
        return None
    tries = row["tries"] or 0 if row["sha256"] is None else 0
    return Failure(FailureCode(row["error_code"]), row["error_message"], row["http_status"], tries)


def original_from(row: RowMapping) -> Original | None:
    """What the row knows of the downloaded original."""
    if row["sha256"] is None:
        return None
    remarks = json.loads(row["remarks"]) if row["remarks"] else {}
    return Original(
        sha256=row["sha256"],
        size_bytes=row["size_bytes"],
        format=row["format"],
        http_status=row["original_status"],
        tries=row["tries"],
        width=row["width"],
        height=row["height"],
        mode=row["mode"],
        exif=remarks.get("exif", {}),
        warnings=tuple(remarks.get("warnings", ())),
        key=row["original_key"] or "",
        undecodable_key=remarks.get("undecodable_key", ""),
    )


def _renders_from(text: str | None) -> tuple[Render, ...]:
    return tuple(Render(*values) for values in json.loads(text)) if text else ()


def _timings_from(row: RowMapping) -> Timings | None:
    if row["download_ms"] is None:
        return None
    return Timings(*(row[column] for column in _TIMING_COLUMNS))


def batch_from(row: RowMapping) -> Batch:
    """The batch of a row of the batches table."""
    return Batch(
        id=row["id"],
        state=BatchState(row["state"]),
        recipe=row["recipe"],
        recipe_fingerprint=row["recipe_fingerprint"],
        display_name=row["display_name"],
        client_id=row["client_id"],
        request_id=row["request_id"] or "",
        labels=json.loads(row["labels"]),
        priority=row["priority"],
        keep_originals=row["keep_originals"],
        keep_undecodable=row["keep_undecodable"],
        revision=row["revision"],
        dispatched=row["dispatched"],
        counts=counts_from(row),
        downloaded_bytes=row["downloaded_bytes"],
        duplicates=row["duplicates"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        active_s=row["active_s"],
        changed_at=row["changed_at"],
        swept=bool(row["swept"]),
        trace=row["trace"],
    )


def counts_from(row: RowMapping) -> Counts:
    """The counters of a row of the batches table."""
    return Counts({state: row[name] for state, name in COUNTS})


PROGRESS_COLUMNS = (
    "state", "revision", "dispatched", *COUNT_COLUMNS, "downloaded_bytes", "duplicates", "started_at", "finished_at",
    "active_s", "changed_at", "swept",
)  # fmt: skip
"""What `progress_values` has values for."""


def progress_values(batch: Batch) -> Mapping[str, Any]:
    """The columns of a batch that change."""
    return {
        "state": batch.state.value,
        "revision": batch.revision,
        "dispatched": batch.dispatched,
        **{name: batch.counts[state] for state, name in COUNTS},
        "downloaded_bytes": batch.downloaded_bytes,
        "duplicates": batch.duplicates,
        "started_at": batch.started_at,
        "finished_at": batch.finished_at,
        "active_s": batch.active_s,
        "changed_at": batch.changed_at,
        "swept": batch.swept,
    }


def batch_values(batch: Batch) -> Mapping[str, Any]:
    """All columns of a batch."""
    return {
        "id": batch.id,
        "client_id": batch.client_id,
        "request_id": batch.request_id or None,
        "display_name": batch.display_name,
        "labels": _dumps(dict(batch.labels)),
        "recipe": batch.recipe,
        "recipe_fingerprint": batch.recipe_fingerprint,
        "priority": batch.priority,
        "keep_originals": batch.keep_originals,
        "keep_undecodable": batch.keep_undecodable,
        "created_at": batch.created_at,
        "trace": batch.trace,
        **progress_values(batch),
    }

"""Domain values to protobuf messages and back. States share their numbers with the API, so they need no table."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from imagemill.domain.batches import Batch
from imagemill.domain.failures import Failure, FailureCode
from imagemill.domain.items import Facts, ItemEvent, ItemRow, Original, Render, State, Timings
from imagemill.v1 import batch_pb2, messages_pb2, recipe_pb2

if TYPE_CHECKING:  # the stubs alone know it as a generic type, and by this name
    from google.protobuf.internal.enum_type_wrapper import _EnumTypeWrapper as EnumTypeWrapper

NumberT = TypeVar("NumberT", bound=int)


def timestamp(seconds: float | None) -> Timestamp | None:
    """Seconds since the epoch as a timestamp."""
    if seconds is None:
        return None
    whole = int(seconds)
    return Timestamp(seconds=whole, nanos=int((seconds - whole) * 1e9))


def duration(seconds: float | None) -> Duration | None:
    """Seconds as a duration, to the millisecond."""
    if seconds is None:
        return None
    millis = round(seconds * 1000)
    return Duration(seconds=millis // 1000, nanos=millis % 1000 * 1_000_000)


# Recipes: the mapping is that of a recipe file, so that one parser judges all that come in.


def recipe_mapping(message: recipe_pb2.Recipe) -> dict[str, object]:
    """The mapping that a recipe message stands for; what is absent there is absent here."""
    mapping: dict[str, object] = {"variants": [_variant_mapping(variant) for variant in message.variants]}
    if message.metadata:
        mapping["metadata"] = _word(recipe_pb2.Recipe.Metadata, message.metadata, "METADATA_")
    if message.color_profile:
        mapping["color_profile"] = _word(recipe_pb2.Recipe.ColorProfile, message.color_profile, "COLOR_PROFILE_")
    return mapping


def _variant_mapping(variant: recipe_pb2.Variant) -> dict[str, object]:
    mapping: dict[str, object] = {field.name: value for field, value in variant.ListFields()}
    if variant.mode:
        mapping["mode"] = _word(recipe_pb2.Variant.Mode, variant.mode, "MODE_")
    if variant.format:
        mapping["format"] = _word(recipe_pb2.Variant.Format, variant.format, "FORMAT_")
    return mapping


def recipe_message(mapping: Mapping[str, object]) -> recipe_pb2.Recipe:
    """The message of a valid recipe's canonical mapping; what only a newer version knows of it is left out."""
    variants = cast("Iterable[Mapping[str, object]]", mapping["variants"])
    color_profile = mapping.get("color_profile", "convert")
    return recipe_pb2.Recipe(
        variants=[_variant_message(variant) for variant in variants],
        metadata=_number(recipe_pb2.Recipe.Metadata, "METADATA_", mapping.get("metadata", "strip")),
        color_profile=_number(recipe_pb2.Recipe.ColorProfile, "COLOR_PROFILE_", color_profile),
    )


def _variant_message(mapping: Mapping[str, object]) -> recipe_pb2.Variant:
    message = recipe_pb2.Variant()
    for name, value in mapping.items():
        if name == "mode":
            message.mode = _number(recipe_pb2.Variant.Mode, "MODE_", value)
        elif name == "format":
            message.format = _number(recipe_pb2.Variant.Format, "FORMAT_", value)
        elif name in recipe_pb2.Variant.DESCRIPTOR.fields_by_name:
            setattr(message, name, value)
    return message


def _number(enumeration: EnumTypeWrapper[NumberT], prefix: str, word: object) -> NumberT:
    known = dict(enumeration.items())
    return known.get(f"{prefix}{word}".upper(), known[f"{prefix}UNSPECIFIED"])


def _word(enumeration: EnumTypeWrapper[Any], number: int, prefix: str) -> str:
    # A newer client may send what only a newer mill knows: the parser refuses it by its number.
    if number not in enumeration.values():
        return str(number)
    return enumeration.Name(number).removeprefix(prefix).lower()


# Items


def failure_message(failure: Failure | None) -> batch_pb2.Failure | None:
    """A failure's message."""
    if failure is None:
        return None
    return batch_pb2.Failure(
        code=failure.code, message=failure.message, http_status=failure.http_status or 0, tries=failure.tries
    )


def failure_value(message: batch_pb2.Failure) -> Failure:
    """A failure from its message."""
    return Failure(FailureCode(message.code), message.message, message.http_status or None, message.tries)


def original_message(original: Original | None) -> batch_pb2.Original | None:
    """An original's message."""
    if original is None:
        return None
    return batch_pb2.Original(
        sha256=original.sha256,
        size_bytes=original.size_bytes,
        format=original.format,
        width=original.width,
        height=original.height,
        mode=original.mode,
        exif=original.exif,
        warnings=original.warnings,
        key=original.key,
        http_status=original.http_status,
        tries=original.tries,
        undecodable_key=original.undecodable_key,
    )


def original_value(message: batch_pb2.Original) -> Original:
    """An original from its message."""
    return Original(
        sha256=message.sha256,
        size_bytes=message.size_bytes,
        format=message.format,
        http_status=message.http_status,
        tries=message.tries,
        width=message.width,
        height=message.height,
        mode=message.mode,
        exif=dict(message.exif),
        warnings=tuple(message.warnings),
        key=message.key,
        undecodable_key=message.undecodable_key,
    )


def _render_message(render: Render) -> batch_pb2.Render:
    return batch_pb2.Render(
        variant=render.variant,
        key=render.key,
        format=render.format,
        width=render.width,
        height=render.height,
        size_bytes=render.size_bytes,
    )


def _render_value(message: batch_pb2.Render) -> Render:
    return Render(message.variant, message.key, message.format, message.width, message.height, message.size_bytes)


def _timings_message(timings: Timings | None) -> batch_pb2.Timings | None:
    if timings is None:
        return None
    return batch_pb2.Timings(
        download_ms=timings.download_ms,
        decode_ms=timings.decode_ms,
        resize_ms=timings.resize_ms,
        encode_ms=timings.encode_ms,
        store_ms=timings.store_ms,
        cpu_ms=timings.cpu_ms,
    )


def _timings_value(message: batch_pb2.Timings) -> Timings:
    return Timings(
        message.download_ms,
        message.decode_ms,
        message.resize_ms,
        message.encode_ms,
        message.store_ms,
        message.cpu_ms,
    )


def facts_value(message: batch_pb2.Item | messages_pb2.ItemEvent) -> Facts:
    """The facts that an item or an event carries."""
    return Facts(
        failure=failure_value(message.failure) if message.HasField("failure") else None,
        original=original_value(message.original) if message.HasField("original") else None,
        renders=tuple(_render_value(render) for render in message.renders),
        timings=_timings_value(message.timings) if message.HasField("timings") else None,
    )


def item_message(row: ItemRow) -> batch_pb2.Item:
    """An item as the API shows it."""
    facts, head = row.facts, row.head
    # An attempt begins when its item is first claimed; one that is due has not begun.
    begun = head.attempt + (1 if head.claims else 0)
    return batch_pb2.Item(
        name=f"batches/{row.batch_id}/items/{row.index}",
        index=row.index,
        source=row.source,
        source_row=row.source_row,
        state=batch_pb2.Item.State.ValueType(head.state.value),
        attempts=begun,
        failure=failure_message(facts.failure),
        original=original_message(facts.original),
        renders=[_render_message(render) for render in facts.renders],
        duplicate_of=row.duplicate_of,
        timings=_timings_message(facts.timings),
        revision=row.revision,
        end_time=timestamp(row.finished_at),
    )


# Events


def event_message(event: ItemEvent) -> messages_pb2.ItemEvent:
    """What travels on the events queue."""
    facts = event.facts
    return messages_pb2.ItemEvent(
        batch_id=event.batch_id,
        index=event.index,
        attempt=event.attempt,
        state=batch_pb2.Item.State.ValueType(event.state.value),
        failure=failure_message(facts.failure),
        delay_s=event.delay_s,
        outside_budget=event.outside_budget,
        original=original_message(facts.original),
        renders=[_render_message(render) for render in facts.renders],
        timings=_timings_message(facts.timings),
    )


_MOST_ATTEMPTS = 1_000_000
"""No item is tried so often; the number of the attempt after it still has to fit the API and the database."""


def event_value(message: messages_pb2.ItemEvent) -> ItemEvent:
    """An event from its message.

    Raises `ValueError` for one that no worker writes: with an unknown state, what is no code, or a number below zero or
    beyond bounds. Once in a row, it would spoil every report on the batch.
    """
    numbers = _numbers(message)
    # A sum tells what is no number at all.
    if min(numbers) < 0 or not sum(numbers) < math.inf or message.attempt > _MOST_ATTEMPTS:
        raise ValueError("the event holds an impossible number")
    return ItemEvent(
        batch_id=message.batch_id,
        index=message.index,
        attempt=message.attempt,
        state=State(message.state),
        facts=facts_value(message),
        delay_s=message.delay_s,
        outside_budget=message.outside_budget,
    )


def _numbers(message: messages_pb2.ItemEvent) -> list[float]:
    original, failure, timings = message.original, message.failure, message.timings
    return [
        *(message.index, message.attempt, message.delay_s, failure.http_status, failure.tries),
        *(original.size_bytes, original.width, original.height, original.http_status, original.tries),
        *(timings.download_ms, timings.decode_ms, timings.resize_ms, timings.encode_ms, timings.store_ms),
        timings.cpu_ms,
        *(number for each in message.renders for number in (each.width, each.height, each.size_bytes)),
    ]


# Batches


def batch_message(batch: Batch, *, rate: float = 0.0) -> batch_pb2.Batch:
    """A batch as the API shows it; `rate` is items finished per second, lately."""
    return batch_pb2.Batch(
        name=f"batches/{batch.id}",
        state=batch_pb2.Batch.State.ValueType(batch.state.value),
        display_name=batch.display_name,
        recipe=recipe_message(json.loads(batch.recipe)),
        recipe_fingerprint=batch.recipe_fingerprint,
        labels=batch.labels,
        priority=batch.priority,
        keep_originals=batch.keep_originals,
        keep_undecodable=batch.keep_undecodable,
        revision=batch.revision,
        progress=_progress_message(batch, rate),
        create_time=timestamp(batch.created_at),
        start_time=timestamp(batch.started_at),
        end_time=timestamp(batch.finished_at),
    )


def _progress_message(batch: Batch, rate: float) -> batch_pb2.Progress:
    counts = batch.counts
    left = counts.total - counts.final
    return batch_pb2.Progress(
        total=counts.total,
        downloaded_bytes=batch.downloaded_bytes,
        items_per_second=rate,
        eta=duration(left / rate) if rate > 0 and left else None,
        active_duration=duration(batch.active_s),
        **{state.name.lower(): number for state, number in counts},
    )

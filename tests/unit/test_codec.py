"""Domain values to messages and back: nothing is lost on the way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill import codec
from imagemill.domain.batches import BatchState
from imagemill.domain.failures import Failure, FailureCode
from imagemill.domain.items import Facts, Head, ItemEvent, ItemRow, Original, Render, State, Timings
from imagemill.domain.presets import PRESETS
from imagemill.domain.recipe import Format, Metadata, Mode, Recipe, Variant
from imagemill.v1 import batch_pb2, messages_pb2, recipe_pb2
from tests.support.builders import BROKEN, GONE, new_batch, success

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
pixels = st.integers(0, 2**31 - 1)
sizes = st.integers(0, 2**62)
durations = st.floats(0, 1e9)
failures = st.builds(Failure, st.sampled_from(FailureCode), texts, st.none() | st.integers(100, 599))
originals = st.builds(
    Original, texts, sizes, texts, st.integers(0, 599), pixels, pixels, texts,
    st.dictionaries(texts, texts, max_size=3), st.lists(texts, max_size=3).map(tuple), texts,
)  # fmt: skip
renders = st.builds(Render, texts, texts, texts, pixels, pixels, sizes)
timings = st.builds(Timings, durations, durations, durations, durations, durations)
facts = st.builds(
    Facts, st.none() | failures, st.none() | originals, st.lists(renders, max_size=3).map(tuple), st.none() | timings
)
events = st.builds(
    ItemEvent, texts, sizes, st.integers(0, 99), st.sampled_from(State), facts, durations, st.booleans()
)  # fmt: skip


@given(events)
def test_an_event_survives_its_journey(event: ItemEvent) -> None:
    body = codec.event_message(event).SerializeToString()

    assert codec.event_value(messages_pb2.ItemEvent.FromString(body)) == event


@given(facts)
def test_facts_survive_in_an_item(known: Facts) -> None:
    row = ItemRow("b", 3, "http://x/", 4, Head(State.FAILED, 1, 2), known, None, 9, 5.5)

    message = batch_pb2.Item.FromString(codec.item_message(row).SerializeToString())

    assert codec.facts_value(message) == known


@given(originals)
def test_an_original_survives_its_journey(original: Original) -> None:
    message = codec.original_message(original)

    assert message is not None
    assert codec.original_value(message) == original


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_recipe_survives_its_journey(name: str) -> None:
    recipe = PRESETS[name]

    assert Recipe.parse(codec.recipe_mapping(codec.recipe_message(recipe.to_mapping()))) == recipe_with_defaults(recipe)


def recipe_with_defaults(recipe: Recipe) -> Recipe:
    return Recipe.parse(recipe.to_mapping())


def test_every_option_of_a_variant_survives_its_journey() -> None:
    variants = (
        Variant("a", Mode.PAD, Format.JPEG, 10, 20, background="#ff0000", quality=1, progressive=True, optimize=False),
        Variant("b", Mode.SCALE, Format.SOURCE, scale=0.25, quality=77),
        Variant("c", Mode.COVER, Format.WEBP, 10, 20, upscale=True, method=0, lossless=False),
        Variant("d", Mode.STRETCH, Format.AVIF, 10, 20, speed=0),
    )
    mapping = Recipe(variants, Metadata.KEEP).to_mapping()

    assert Recipe.parse(codec.recipe_mapping(codec.recipe_message(mapping))).to_mapping() == mapping


def test_of_a_recipe_of_a_newer_version_that_is_told_which_is_known() -> None:
    """A batch that was handed in through it can be looked at."""
    known = {"name": "a", "mode": "inside", "width": 10, "height": 20, "format": "jpeg"}
    newer = {**known, "mode": "crop", "format": "jxl", "of_the_future": 3}
    mapping = {"variants": [known, newer], "metadata": "sign", "color_profile": "keep", "of_the_future": True}

    message = codec.recipe_message(mapping)

    assert codec.recipe_mapping(message) == {
        "variants": [known, {"name": "a", "width": 10, "height": 20}], "color_profile": "keep"
    }  # fmt: skip


def test_what_a_recipe_message_leaves_out_is_left_to_the_defaults() -> None:
    message = recipe_pb2.Recipe(variants=[recipe_pb2.Variant(name="a", mode=recipe_pb2.Variant.MODE_INSIDE)])

    assert codec.recipe_mapping(message) == {"variants": [{"name": "a", "mode": "inside"}]}


@pytest.mark.parametrize(
    ("head", "attempts"),
    [
        (Head(State.PENDING, 0, 0), 0),
        (Head(State.QUEUED, 0, 1), 1),
        (Head(State.PENDING, 1, 0), 1),
        (Head(State.SUCCEEDED, 1, 3), 2),
    ],
)
def test_attempts_are_counted_from_one_and_only_once_they_have_begun(head: Head, attempts: int) -> None:
    row = ItemRow("b", 3, "http://x/", 4, head, Facts(), None, 9, None)

    assert codec.item_message(row).attempts == attempts


def test_an_item_is_told_as_it_is() -> None:
    row = ItemRow("b", 3, "http://x/", 4, Head(State.SUCCEEDED, 0, 1), success(1), 0, 9, 5.5)

    item = codec.item_message(row)

    assert item.name == "batches/b/items/3"
    assert (item.index, item.source, item.source_row, item.revision) == (3, "http://x/", 4, 9)
    # The twin with index 0 is another thing than no twin.
    assert item.HasField("duplicate_of")
    assert item.duplicate_of == 0
    assert (item.end_time.seconds, item.end_time.nanos) == (5, 500_000_000)


def test_what_is_not_known_is_absent() -> None:
    item = codec.item_message(ItemRow("b", 3, "http://x/", 0, Head(State.PENDING, 0), Facts(), None, 9, None))

    present = {descriptor.name for descriptor, _ in item.ListFields()}
    assert present == {"name", "index", "source", "state", "revision"}


def test_a_batch_is_told_with_its_progress_and_the_time_it_will_take() -> None:
    batch = new_batch(state=BatchState.ACTIVE)
    batch.counts.add(State.PENDING, 30)
    batch.counts.add(State.PROCESSING, 10)
    batch.counts.add(State.SUCCEEDED, 60)
    batch.active_s = 1.25

    message = codec.batch_message(batch, rate=20.0)

    assert (message.name, message.state, message.revision) == ("batches/b", batch_pb2.Batch.STATE_ACTIVE, 1)
    progress = message.progress
    assert (progress.total, progress.pending, progress.processing, progress.succeeded) == (100, 30, 10, 60)
    assert (progress.eta.seconds, progress.active_duration.nanos) == (2, 250_000_000)
    assert not message.HasField("start_time")
    assert not codec.batch_message(batch).progress.HasField("eta")


@pytest.mark.parametrize("state", State)
def test_the_apis_states_are_the_domains(state: State) -> None:
    assert batch_pb2.Item.State.Name(batch_pb2.Item.State.ValueType(state.value)) == f"STATE_{state.name}"


@pytest.mark.parametrize("state", BatchState)
def test_the_apis_batch_states_are_the_domains(state: BatchState) -> None:
    assert batch_pb2.Batch.State.Name(batch_pb2.Batch.State.ValueType(state.value)) == f"STATE_{state.name}"


@pytest.mark.parametrize("failure", [GONE, BROKEN, Failure(FailureCode.INTERNAL, "x")])
def test_a_failure_survives_its_journey(failure: Failure) -> None:
    message = codec.failure_message(failure)

    assert message is not None
    assert codec.failure_value(message) == failure

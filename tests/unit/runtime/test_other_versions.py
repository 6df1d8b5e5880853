"""Messages on the queues as the version before and the one to come write them, read by this one."""

from __future__ import annotations

import pytest

from imagemill import codec
from imagemill.domain.failures import FailureCode
from imagemill.domain.items import State
from imagemill.runtime.jobs import DownloadJob, ProcessJob, decode_downloads, decode_processes, encode_processes
from imagemill.runtime.markers import Marker, marker_in
from imagemill.v1 import batch_pb2, messages_pb2
from tests.support.builders import RECIPE, event, original
from tests.support.newer_protos import ADDED_VALUE, newer, told_by_newer

JOBS = messages_pb2.DownloadJobs(
    batch_id="b",
    recipe=RECIPE.to_json(),
    keep_originals=True,
    jobs=[messages_pb2.DownloadJob(index=index, attempt=1, claim=2, source="http://a.test/1.jpg") for index in (0, 7)],
    keep_undecodable=True,
    priority=50,
)
RENDERS = [ProcessJob("b", index, 1, "slot:1:2", original(index), 3.0, RECIPE.to_json(), 2, True) for index in (0, 7)]


def test_jobs_of_a_version_to_come_are_read_without_what_it_has_added() -> None:
    (renders,) = encode_processes(RENDERS)

    assert decode_downloads(told_by_newer(JOBS)) == decode_downloads(JOBS.SerializeToString())
    assert decode_processes(told_by_newer(messages_pb2.ProcessJobs.FromString(renders))) == RENDERS


@pytest.mark.parametrize("state", [State.PROCESSING, State.PENDING, State.SUCCEEDED, State.FAILED])
def test_events_of_a_version_to_come_are_read_without_what_it_has_added(state: State) -> None:
    told = event(0, state)
    body = told_by_newer(messages_pb2.ItemEvents(events=[codec.event_message(told)]))

    (read,) = messages_pb2.ItemEvents.FromString(body).events

    assert codec.event_value(read) == told


def test_an_event_with_a_state_to_come_is_not_taken_for_another() -> None:
    """A new state is a new major version of the messages: what it means for the row, nobody here knows."""
    told = codec.event_message(event(0, State.SUCCEEDED))
    body = told_by_newer(told, new_values=lambda field: field.name == "state")

    with pytest.raises(ValueError, match=str(ADDED_VALUE)):
        codec.event_value(messages_pb2.ItemEvent.FromString(body))


def test_a_marker_with_more_in_it_is_still_one_and_no_job() -> None:
    body = told_by_newer(messages_pb2.Marker.FromString(Marker("e", 12.5).encode()))

    assert marker_in(body) == Marker("e", 12.5)
    assert (decode_downloads(body), decode_processes(body)) == ([], [])


def test_jobs_of_a_version_before_have_the_usual_where_they_say_nothing() -> None:
    downloads, renders = messages_pb2.DownloadJobs(), messages_pb2.ProcessJobs()
    downloads.CopyFrom(JOBS)
    renders.ParseFromString(encode_processes(RENDERS)[0])
    for later in ("keep_undecodable", "priority"):
        downloads.ClearField(later)
    renders.ClearField("keep_undecodable")

    assert decode_downloads(downloads.SerializeToString())[0] == DownloadJob(
        "b", 0, 1, "http://a.test/1.jpg", RECIPE.to_json(), keep_original=True, claim=2
    )
    read = decode_processes(renders.SerializeToString())[0]
    assert (read.keep_undecodable, read.refusal, read.original) == (False, None, original(0))


def test_an_event_of_a_version_before_is_read_without_what_came_later() -> None:
    message = messages_pb2.ItemEvent(batch_id="b", index=3, state=batch_pb2.Item.STATE_FAILED)
    message.failure.code, message.failure.message = "SOURCE_NOT_FOUND", "It is gone."

    read = codec.event_value(message)

    assert read.facts.failure is not None
    assert (read.facts.failure.code, read.facts.failure.tries) == (FailureCode.SOURCE_NOT_FOUND, 0)
    assert (read.facts.original, read.facts.renders, read.facts.timings) == (None, (), None)


def test_a_failure_of_a_version_to_come_keeps_its_code() -> None:
    message = codec.event_message(event(0, State.FAILED))
    message.failure.code = "OF_THE_FUTURE"

    read = codec.event_value(message)

    assert codec.event_message(read) == message


@pytest.mark.parametrize("code", ["", "é" * 70, "a/../b", "OF THE FUTURE", "X" * 65])
def test_what_is_no_code_in_any_version_is_refused(code: str) -> None:
    message = codec.event_message(event(0, State.FAILED))
    message.failure.code = code

    with pytest.raises(ValueError, match="FailureCode"):
        codec.event_value(message)


def test_a_version_to_come_reads_what_this_one_writes() -> None:
    told = codec.event_message(event(0, State.SUCCEEDED))

    read = newer("ItemEvent").FromString(told.SerializeToString())

    assert messages_pb2.ItemEvent.FromString(read.SerializeToString()) == told

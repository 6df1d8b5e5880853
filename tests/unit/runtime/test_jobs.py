"""The messages of the two work queues."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from imagemill.domain.items import SUSPECT_CLAIMS, Facts, Timings
from imagemill.domain.presets import PRESETS
from imagemill.runtime.jobs import (
    LARGEST_MESSAGE,
    DownloadJob,
    ProcessJob,
    ask_wanted,
    decode_downloads,
    decode_processes,
    encode_processes,
)
from imagemill.v1 import messages_pb2
from imagemill.v1 import storage_service_pb2 as inner
from tests.support.builders import RECIPE, original


def process_job(index: int, batch_id: str = "b") -> ProcessJob:
    return ProcessJob(batch_id, index, 2, f"slot:{index}:0", original(index), 12.5, RECIPE.to_json())


def test_jobs_survive_their_journey_to_the_renderer() -> None:
    jobs = [process_job(index) for index in range(3)]

    (body,) = encode_processes(jobs)

    assert decode_processes(body) == jobs
    assert jobs[0].recipe == PRESETS["dataset-256"].parse(PRESETS["dataset-256"].to_mapping())
    assert jobs[0].fingerprint == RECIPE.fingerprint()


def test_a_message_holds_jobs_of_any_batches_and_not_too_many() -> None:
    unlike = replace(process_job(9, "unlike"), recipe_text=PRESETS["standard"].to_json(), keep_undecodable=True)
    jobs = [unlike, *(process_job(index, f"b{batch}") for index in range(3) for batch in range(LARGEST_MESSAGE))]

    messages = [decode_processes(body) for body in encode_processes(jobs)]

    assert [len(message) for message in messages] == [LARGEST_MESSAGE] * 3 + [1]
    assert sorted((job for message in messages for job in message), key=_key) == sorted(jobs, key=_key)


def test_what_may_kill_its_worker_travels_alone_and_its_claims_with_it() -> None:
    jobs = [replace(process_job(index), claim=SUSPECT_CLAIMS if index in (1, 4) else 1) for index in range(6)]

    messages = [decode_processes(body) for body in encode_processes(jobs)]

    assert [[job.index for job in message] for message in messages] == [[0, 2, 3, 5], [1], [4]]
    assert sorted((job for message in messages for job in message), key=lambda job: job.index) == jobs


def _key(job: ProcessJob) -> tuple[str, int]:
    return job.batch_id, job.index


def test_download_jobs_are_read_with_what_their_batch_says() -> None:
    jobs = [messages_pb2.DownloadJob(index=4, attempt=1, claim=9, source="http://x.test/")]
    message = messages_pb2.DownloadJobs(batch_id="b", recipe=RECIPE.to_json(), keep_originals=True, jobs=jobs)

    assert decode_downloads(message.SerializeToString()) == [
        DownloadJob("b", 4, 1, "http://x.test/", RECIPE.to_json(), keep_original=True, claim=9)
    ]


def test_a_failure_of_a_stage_repeats_what_the_stage_before_found_out() -> None:
    assert process_job(3).facts == Facts(original=original(3), timings=Timings(download_ms=12.5))
    assert DownloadJob("b", 4, 1, "http://x.test/", "{}", keep_original=False).facts == Facts()


async def test_the_store_is_asked_which_jobs_are_wanted_in_which_attempt() -> None:
    asked: list[inner.FilterWantedRequest] = []

    class Store:
        async def FilterWanted(self, request: inner.FilterWantedRequest, **limits: float) -> inner.FilterWantedResponse:
            assert limits["timeout"] > 0
            asked.append(request)
            return inner.FilterWantedResponse(indexes=[1])

    store: Any = Store()
    wanted = ask_wanted(store, ProcessJob)
    jobs = [process_job(0), replace(process_job(1), attempt=5)]

    assert await wanted(jobs) == [jobs[1]]
    assert await wanted([]) == []
    (request,) = asked
    assert request.batch_id == "b"
    assert [(item.index, item.attempt, item.claim) for item in request.items] == [
        (job.index, job.attempt, job.claim) for job in jobs
    ]
    assert not request.for_download
    assert await ask_wanted(store, DownloadJob)([DownloadJob("b", 1, 0, "http://x.test/", "{}", False)])
    assert asked[1].for_download


async def test_of_jobs_of_several_batches_the_store_is_asked_batch_by_batch() -> None:
    class Store:
        async def FilterWanted(
            self, request: inner.FilterWantedRequest, **_limits: float
        ) -> inner.FilterWantedResponse:
            return inner.FilterWantedResponse(indexes=[0] if request.batch_id == "a" else [1])

    store: Any = Store()
    jobs = [process_job(index, batch_id) for index in (0, 1) for batch_id in ("a", "b")]

    assert [_key(job) for job in await ask_wanted(store, ProcessJob)(jobs)] == [("a", 0), ("b", 1)]

"""The downloader: one picture fetched safely.

It takes jobs from `imagemill.download`, streams each picture into a place for originals while judging and hashing
it, and hands it on to `imagemill.process`.
"""

from __future__ import annotations

import asyncio

from downloader_svc.fetch import Fetched, fetch
from downloader_svc.line import Line
from downloader_svc.settings import DownloaderSettings
from imagemill.domain.items import Facts, ItemEvent, Original, State, Timings
from imagemill.domain.sources import host_of
from imagemill.http import GuardedClient
from imagemill.ports.blobs import Originals
from imagemill.ports.broker import Broker, Queue
from imagemill.runtime import metrics
from imagemill.runtime.jobs import DownloadJob, ProcessJob, ask_wanted, decode_downloads, encode_processes
from imagemill.runtime.outbox import Outbox
from imagemill.runtime.serving import dial
from imagemill.runtime.stage import Outcome, Stage, Work
from imagemill.settings.live import Live
from imagemill.v1.storage_service_pb2_grpc import StorageServiceStub

AHEAD = 320
"""Messages in hand whose downloads wait for their turn: as many as a window of single items holds, so that what comes
later for another host, or of another batch, does not stand behind them on the queue."""


async def serve(
    settings: Live[DownloaderSettings], broker: Broker, originals: Originals, *, stop: asyncio.Event
) -> None:
    """Download until `stop` is set; what is in hand then is handed back."""
    first = settings.value
    line = Line(first.downloads, _turns_of_host(first))
    async with dial(first.storage_target) as channel, GuardedClient(first.http) as client:

        async def download(job: DownloadJob) -> Outcome[ProcessJob]:
            async with originals.draft(durable=job.keep_original) as draft:
                fetched = await fetch(
                    client, job.source, draft.file, settings.value.limits, keep_refused=job.keep_undecodable
                )
                ref = await draft.keep(job.batch_id, fetched.sha256, fetched.size_bytes)
            metrics.DOWNLOADED_BYTES.add(by=fetched.size_bytes)
            return _downloaded(job, fetched, ref, originals.durable_key(ref))

        work = Work(
            queue=Queue.DOWNLOAD,
            running=State.DOWNLOADING,
            decode=decode_downloads,
            handle=download,
            dropped=_nothing_held,
            wanted=ask_wanted(StorageServiceStub(channel), DownloadJob),
            slots=first.downloads,
            turn=lambda job: line.turn(job.batch_id, job.priority, host_of(job.source)),
            ahead=AHEAD,
            policy=first.retry,
        )
        outbox = Outbox(broker, next_queue=Queue.PROCESS, encode_next=encode_processes)
        stage = Stage(broker, work, outbox)

        def retune(changed: DownloaderSettings) -> None:
            client.retune(changed.http)
            line.resize(changed.downloads, _turns_of_host(changed))
            stage.retune(slots=changed.downloads, policy=changed.retry)

        with settings.followed_by(retune):
            await stage.run(stop, first.grace_s)


def _turns_of_host(settings: DownloaderSettings) -> int:
    """For each connection a download at work and one that pauses between tries, or is the next."""
    return 2 * settings.http.connections_per_host


def _downloaded(job: DownloadJob, fetched: Fetched, ref: str, key: str) -> Outcome[ProcessJob]:
    original = Original(
        sha256=fetched.sha256,
        size_bytes=fetched.size_bytes,
        format=fetched.format,
        http_status=fetched.http_status,
        tries=fetched.tries,
        warnings=fetched.warnings,
        key=key,
    )
    next_job = ProcessJob(
        job.batch_id,
        job.index,
        job.attempt,
        ref,
        original,
        fetched.download_ms,
        job.recipe,
        job.claim,
        job.keep_undecodable,
        fetched.refusal,
    )
    if not key or fetched.refusal:
        # Nothing outlives this process that the row would have to know of. (A refused file is fetched again then.)
        return Outcome(None, next_job)
    facts = Facts(original=original, timings=Timings(download_ms=fetched.download_ms))
    return Outcome(ItemEvent(job.batch_id, job.index, job.attempt, State.DOWNLOADED, facts), next_job)


async def _nothing_held(job: DownloadJob) -> None:
    """A download that is given up has given its place back by itself."""

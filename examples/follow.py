"""Show a progress bar until a batch is done; the exit code is 1 if any of its items failed.

    python follow.py batches/spring-catalogue

It may be stopped and started at any time, and so may the mill.
"""

import argparse
import asyncio
import sys

from rich.progress import Progress

from imagemill.client import Batch, MillClient, MillError


async def follow(mill: MillClient, name: str) -> Batch:
    batch = await mill.get(name)
    with Progress() as bar:
        task = bar.add_task(batch.display_name or batch.name, total=batch.progress.total)
        async for update in mill.watch(batch, give_up_after_s=300):
            batch = update.batch
            counts = batch.progress
            done = counts.succeeded + counts.failed + counts.skipped + counts.cancelled
            bar.update(task, total=counts.total, completed=done)
    return batch


async def main() -> int:
    parser = argparse.ArgumentParser(description="Show a progress bar until a batch is done.")
    parser.add_argument("batch")
    parser.add_argument("--to", default="127.0.0.1:50051")
    options = parser.parse_args()
    async with MillClient(options.to) as mill:
        counts = (await follow(mill, options.batch)).progress
    print(f"{counts.succeeded:,} succeeded, {counts.failed:,} failed, {counts.skipped:,} skipped")
    return 1 if counts.failed else 0


try:
    sys.exit(asyncio.run(main()))
except MillError as error:
    sys.exit(f"{error.reason}: {error.message}")

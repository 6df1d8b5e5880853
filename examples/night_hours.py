"""Let batches work at night only, and end when all of them are done.

python night_hours.py batches/huge batches/larger --begin 22:00 --end 06:00
"""

import argparse
import asyncio
import sys
from datetime import datetime, time

from imagemill.client import Batch, MillClient, MillError


def is_night(now: time, begin: time, end: time) -> bool:
    return begin <= now < end if begin <= end else now >= begin or now < end


async def main() -> None:
    parser = argparse.ArgumentParser(description="Let batches work at night only.")
    parser.add_argument("batches", nargs="+", metavar="batch")
    parser.add_argument("--begin", type=time.fromisoformat, default=time(22))
    parser.add_argument("--end", type=time.fromisoformat, default=time(6))
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two looks at the clock")
    parser.add_argument("--to", default="127.0.0.1:50051")
    options = parser.parse_args()
    # The mill may be updated in the meantime; give it time to come back.
    async with MillClient(options.to, patience_s=600) as mill:
        waiting = set(options.batches)
        while waiting:
            night = is_night(datetime.now().time(), options.begin, options.end)
            for name in sorted(waiting):
                batch = await mill.get(name)
                if batch.state in (Batch.STATE_COMPLETED, Batch.STATE_CANCELLED):
                    print(f"{name} is done.", flush=True)
                    waiting.remove(name)
                elif batch.state == Batch.STATE_PAUSED and night:
                    await mill.resume(name)
                    print(f"{name} goes on.", flush=True)
                elif batch.state == Batch.STATE_ACTIVE and not night:
                    await mill.pause(name)
                    print(f"{name} is paused until {options.begin:%H:%M}.", flush=True)
            if waiting:
                await asyncio.sleep(options.every)


try:
    asyncio.run(main())
except MillError as error:
    sys.exit(f"{error.reason}: {error.message}")

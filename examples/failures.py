"""Group what failed in a batch by reason, with an example of each; try some reasons again.

python failures.py batches/spring-catalogue
python failures.py batches/spring-catalogue --retry READ_TIMEOUT --retry CONNECT_TIMEOUT
"""

import argparse
import asyncio
import sys
from collections import Counter

from imagemill.client import Item, MillClient, MillError


async def main() -> None:
    parser = argparse.ArgumentParser(description="Group what failed in a batch by reason.")
    parser.add_argument("batch")
    parser.add_argument("--retry", metavar="CODE", action="append", default=[], help="try these again")
    parser.add_argument("--to", default="127.0.0.1:50051")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    examples: dict[str, Item] = {}
    async with MillClient(options.to) as mill:
        async for item in mill.items(options.batch, states=["failed"]):
            counts[item.failure.code] += 1
            examples.setdefault(item.failure.code, item)
        for code, count in counts.most_common():
            example = examples[code]
            print(f"{count:>8,}  {code}\n          {example.source}: {example.failure.message}")
        if options.retry:
            again = await mill.retry_failed(options.batch, options.retry)
            print(f"{again.items:,} are tried again.")


try:
    asyncio.run(main())
except MillError as error:
    sys.exit(f"{error.reason}: {error.message}")

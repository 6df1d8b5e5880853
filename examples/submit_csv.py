"""Hand in the URLs in a column of a CSV file, and print the batch's name.

    python submit_csv.py products.csv --column image_url

Run again with the same file it finds the same batch, so it may be repeated after any interruption.
"""

import argparse
import asyncio
import csv
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

from imagemill.client import ItemSource, MillClient, MillError

RECIPE = {
    "variants": [
        {"name": "thumb", "mode": "cover", "width": 200, "height": 200, "format": "jpeg"},
        {"name": "large", "mode": "inside", "width": 1200, "height": 1200, "format": "webp"},
    ]
}


def cells(file: Path, column: str) -> Iterator[ItemSource]:
    """Yield the cells of a column with their lines; an empty one is an item, too, so that the rows still match."""
    with file.open(encoding="utf-8-sig", newline="") as text:
        rows = csv.DictReader(text)
        if column not in (rows.fieldnames or ()):
            sys.exit(f"{file} has no column {column!r}, but {', '.join(rows.fieldnames or ())}.")
        for row in rows:
            url = (row[column] or "").strip()
            yield ItemSource(uri=url, source_row=rows.line_num, skip_reason="" if url else "The cell is empty.")


async def main() -> None:
    parser = argparse.ArgumentParser(description="Hand in the URLs in a column of a CSV file.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--column", required=True)
    parser.add_argument("--to", default="127.0.0.1:50051")
    options = parser.parse_args()
    digest = hashlib.sha256(options.file.read_bytes() + options.column.encode()).hexdigest()
    async with MillClient(options.to) as mill:
        batch = await mill.submit(
            cells(options.file, options.column),
            recipe=RECIPE,
            request_id=digest,
            display_name=options.file.name,
            on_sent=lambda sent: print(f"{sent:,} handed in", file=sys.stderr),
        )
    print(batch.name)


try:
    asyncio.run(main())
except MillError as error:
    sys.exit(f"{error.reason}: {error.message}")

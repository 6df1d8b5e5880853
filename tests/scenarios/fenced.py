"""Runs the command behind the fence, which lets nothing but loopback be dialled and writes down every attempt.

`python -m tests.scenarios.fenced FILE NAMES run ...`: FILE gets a line `address port` for each attempt to dial. NAMES
is a JSON object of what the name servers answer: for each name a list of addresses.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from imagemill.cli import main
from tests.support.fence import fenced


class _Written(list[tuple[str, int]]):
    """Attempts, on disk as soon as they are made: the command leaves without unwinding."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        path.touch()

    def append(self, attempt: tuple[str, int]) -> None:
        super().append(attempt)
        with self._path.open("a", encoding="ascii") as file:
            file.write(f"{attempt[0]} {attempt[1]}\n")


if __name__ == "__main__":
    record, names = sys.argv[1:3]
    del sys.argv[1:3]
    with fenced() as fence:
        fence.dialled = _Written(Path(record))
        fence.names.update({name: [addresses] for name, addresses in json.loads(names).items()})
        main()

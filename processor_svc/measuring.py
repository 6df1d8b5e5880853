"""What the metrics tell of the rendering processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imagemill.runtime import metrics
from processor_svc.pool import RenderPool

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@contextmanager
def measured(pool: RenderPool) -> Iterator[None]:
    """Tell how many processes the pool has and what they need, while the block lasts."""
    with (
        metrics.CHILDREN.read_from(lambda: len(pool.pids)),
        metrics.CHILDREN_BYTES.read_from(lambda: sum(map(_resident_bytes, pool.pids))),
    ):
        yield


def _resident_bytes(pid: int) -> int:
    """The memory of a process; 0 when it has just ended, or the system does not tell."""
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
    return 0

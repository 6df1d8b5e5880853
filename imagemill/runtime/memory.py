"""How a process of the mill uses its memory."""

from __future__ import annotations

import contextlib
import ctypes
import gc

ARENAS = 2
KEPT_BYTES = 16 << 20
"""As much freed memory is kept for the next buffers."""
MAPPED_BYTES = 1 << 20
"""What is at least so large is mapped for itself, and goes back to the kernel when it is freed."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # from glibc's malloc.h
YOUNG_OBJECTS = 10_000
"""So many more objects than before, and the young ones are searched for garbage. At Python's own 700 a run of 2,000
pictures does it 180 times, for 0.14 s, and finds next to nothing: what goes round in circles here is small and rare."""


def share_heaps() -> None:
    """Let all threads share two heaps; to be called before threads start.

    glibc gives each thread a heap of its own, and none gives back what its busiest moment took: over a long list
    that is 15 MB. Where the C library knows none of this, this does nothing.
    """
    _tune_malloc({_M_ARENA_MAX: ARENAS})


def keep_buffers() -> None:
    """Keep what is freed for what comes next; for a process through which pictures go.

    glibc gives the buffers of each download, up to 256 KB, back to the kernel and asks for them again: 25 page faults
    a picture, 4 % of a run's CPU.
    """
    _tune_malloc({_M_TRIM_THRESHOLD: KEPT_BYTES, _M_MMAP_THRESHOLD: MAPPED_BYTES})


def _tune_malloc(parameters: dict[int, int]) -> None:
    with contextlib.suppress(AttributeError, OSError):
        for parameter, value in parameters.items():
            ctypes.CDLL(None).mallopt(parameter, value)


def collect_garbage() -> None:
    """Begin to look for garbage, seldom, and never among what is there now; to be called when all is imported."""
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
    gc.enable()

"""How a process of the mill uses its memory."""

from __future__ import annotations

import contextlib
import ctypes
import gc

M_ARENA_MAX = -8
"""`mallopt`'s number for it, from glibc's malloc.h."""
ARENAS = 2
YOUNG_OBJECTS = 10_000
"""So many more objects than before, and the young ones are searched for garbage. At Python's own 700 a run of 2,000
pictures does it 180 times, for 0.14 s, and finds next to nothing: what goes round in circles here is small and rare."""


def share_arenas() -> None:
    """Let all threads share two heaps; to be called before they start.

    glibc gives each thread a heap of its own, and none gives back what its busiest moment took: over a long list
    that is 15 MB. Where the C library knows no arenas, this does nothing.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


def collect_garbage() -> None:
    """Begin to look for garbage, seldom, and never among what is there now; to be called when all is imported."""
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
    gc.enable()

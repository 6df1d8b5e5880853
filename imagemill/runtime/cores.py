"""How many cores a process may use, which in a container are seldom all that the machine has."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_GROUPS, _MOUNTED = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def usable_cores(groups: Path = _GROUPS, mounted: Path = _MOUNTED) -> int:
    """Return how many cores' work this process can do at the same time, at least 1.

    These are the cores that it is bound to, or fewer if its control group or one above may use less CPU time than they
    have: what `docker run --cpus` and Kubernetes' limits set. Linux, cgroups(7), the `cpu` controller of both versions.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.floor(min([bound, *_quotas(groups, mounted)])))


def _quotas(groups: Path, mounted: Path) -> Iterator[float]:
    try:
        lines = groups.read_text(encoding="utf-8").splitlines()
    except OSError:
        return  # no Linux
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers or "cpu" in controllers.split(","):
            # A container sees its own group as the root, or the whole path, of which only the root is mounted there.
            group = PurePosixPath(path.lstrip("/"))
            for level in (group, *group.parents):
                yield from _quota(mounted / level if not controllers else mounted / "cpu" / level)


def _quota(folder: Path) -> Iterator[float]:
    """The cores' work that a group may do, if that is limited."""
    try:
        if (both := folder / "cpu.max").exists():
            quota, period = both.read_text(encoding="ascii").split()
        else:
            quota, period = (
                (folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period")
            )
        if quota != "max" and int(quota) > 0:
            yield int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return  # the group is not mounted, or has no such controller

"""A container's CPU limit counts, not the machine's cores alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagemill.runtime.cores import usable_cores


@pytest.fixture(autouse=True)
def many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


def usable(folder: Path, groups: str, limits: dict[str, str]) -> int:
    """What is usable of eight cores, by the text of /proc/self/cgroup and the files below /sys/fs/cgroup."""
    (folder / "groups").write_text(groups)
    for name, text in limits.items():
        path = folder / "mounted" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return usable_cores(folder / "groups", folder / "mounted")


def test_without_a_limit_all_cores_that_the_process_is_bound_to_count(tmp_path: Path) -> None:
    assert usable(tmp_path, "0::/\n", {"cpu.max": "max 100000"}) == 8
    assert usable_cores(tmp_path / "none", tmp_path) == 8


@pytest.mark.parametrize(
    ("limit", "cores"), [("200000 100000", 2), ("250000 100000", 2), ("50000 100000", 1), ("1600000 100000", 8)]
)
def test_a_limit_counts_in_whole_cores(tmp_path: Path, limit: str, cores: int) -> None:
    assert usable(tmp_path, "0::/\n", {"cpu.max": limit}) == cores


def test_the_least_of_all_groups_above_counts(tmp_path: Path) -> None:
    limits = {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000", "other/cpu.max": "100000 100000"}
    assert usable(tmp_path, "0::/a/b\n", limits) == 3


def test_a_group_that_the_container_does_not_see_is_the_root_there(tmp_path: Path) -> None:
    assert usable(tmp_path, "0::/kubepods/pod7/3f\n", {"cpu.max": "400000 100000"}) == 4


def test_the_first_version_of_control_groups(tmp_path: Path) -> None:
    groups = "9:name=systemd:/\n4:memory:/docker/3f\n1:cpu,cpuacct:/docker/3f\n0::/\n"
    limited = {"cpu/docker/3f/cpu.cfs_quota_us": "200000", "cpu/docker/3f/cpu.cfs_period_us": "100000"}
    assert usable(tmp_path, groups, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}) == 8
    assert usable(tmp_path, groups, limited) == 2


def test_rubbish_limits_nothing(tmp_path: Path) -> None:
    assert usable(tmp_path, "0::/\n", {"cpu.max": "plenty"}) == 8
    assert usable(tmp_path, "0::/a\n", {"a/cpu.max": "1 0"}) == 8

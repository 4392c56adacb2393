"""How much memory there is: the machine's, or less where something bounds it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from recbole_diffusion.base.memory import cgroup_bounds, machine_memory_mb


def in_groups(tmp_path: Path, lines: str) -> list[float]:
    (tmp_path / "cgroup").write_text(lines)
    return sorted(cgroup_bounds(tmp_path / "cgroup", tmp_path / "fs"))


def bound(tmp_path: Path, path: str, text: str) -> None:
    file = tmp_path / "fs" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_unified_groups_and_those_above(tmp_path: Path) -> None:
    bound(tmp_path, "a/memory.max", "4096\n")
    bound(tmp_path, "a/b/memory.max", "max\n")
    bound(tmp_path, "other/memory.max", "1\n")
    assert in_groups(tmp_path, "0::/a/b\n") == [4096]
    bound(tmp_path, "a/b/memory.max", "2048\n")
    assert in_groups(tmp_path, "0::/a/b\n") == [2048, 4096]


def test_groups_of_a_container_that_sees_itself_as_the_root(tmp_path: Path) -> None:
    bound(tmp_path, "memory.max", "8192\n")
    assert in_groups(tmp_path, "0::/\n") == [8192]
    # A path of the machine outside, which is not mounted here.
    assert in_groups(tmp_path, "0::/docker/0123\n") == [8192]
    assert in_groups(tmp_path, "0::/../../docker\n") == [8192]


def test_older_groups(tmp_path: Path) -> None:
    bound(tmp_path, "memory/a/memory.limit_in_bytes", "1024\n")
    bound(tmp_path, "memory/memory.limit_in_bytes", "9223372036854771712\n")  # none
    lines = "12:cpu,cpuacct:/c\n9:memory:/a\n1:name=systemd:/a\n"
    assert in_groups(tmp_path, lines) == [1024, 9223372036854771712]


def test_unified_groups_beside_older_ones(tmp_path: Path) -> None:
    bound(tmp_path, "unified/a/memory.max", "512\n")
    assert in_groups(tmp_path, "9:memory:/a\n0::/a\n") == [512]


def test_no_groups(tmp_path: Path) -> None:
    assert list(cgroup_bounds(tmp_path / "cgroup", tmp_path / "fs")) == []
    bound(tmp_path, "memory.max", "no number\n")
    assert in_groups(tmp_path, "0::/\nno line of it\n") == []


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="not known there")
def test_the_least_counts(tmp_path: Path) -> None:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20
    assert machine_memory_mb([]) <= 0.8 * total
    assert machine_memory_mb([100 * 2**20, 300 * 2**20]) == 80.0


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is of POSIX")
def test_bound_of_a_process(tmp_path: Path) -> None:
    program = (
        "import resource\n"
        "from recbole_diffusion.base.memory import machine_memory_mb\n"
        "hard = resource.getrlimit(resource.RLIMIT_AS)[1]\n"
        "resource.setrlimit(resource.RLIMIT_AS, (50 * 2**20, hard))\n"
        "print(machine_memory_mb([]))"
    )
    end = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert float(end.stdout) == 40.0

"""How much memory this machine has."""

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from recbole_diffusion.base.errors import UserError

MEMORY_SHARE = 0.8
GIB = 2**30
GROUPS_OF_PROCESS = Path("/proc/self/cgroup")
GROUPS = Path("/sys/fs/cgroup")


def machine_memory_mb(bounds: Iterable[float] | None = None) -> float:
    """The share of the memory that a comparison takes by default, in MiB.

    Of the machine's memory or what bounds it, whichever is least: a container or batch system
    (control groups), or ``ulimit -v``.

    Args:
        bounds: Bytes that control groups allow; None: those of this process.
    """
    known = cgroup_bounds() if bounds is None else bounds
    return (
        min([*known, *_machine(), *_address_space()], default=float("inf")) / 2**20 * MEMORY_SHARE
    )


def expect_memory(needed: float, purpose: str) -> None:
    """Refuse what the machine, or what bounds it, has no memory for.

    Args:
        needed: Bytes.
        purpose: What the message names.

    Raises:
        UserError: The whole memory is less; what others use of it is not counted.
    """
    found = machine_memory_mb() * 2**20 / MEMORY_SHARE
    if needed > found:
        raise UserError(
            f"{purpose}: found {found / GIB:.1f} GiB of memory, expected at least "
            f"{needed / GIB:.1f} GiB"
        )


def _machine() -> list[float]:
    if not hasattr(os, "sysconf"):  # Windows
        return []
    return [float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))]


def _address_space() -> list[float]:
    if sys.platform == "win32":
        return []
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return [] if limit == resource.RLIM_INFINITY else [float(limit)]


def cgroup_bounds(
    groups_of_process: Path = GROUPS_OF_PROCESS, groups: Path = GROUPS
) -> Iterator[float]:
    """Bytes that this process's control groups and those above them allow.

    Args:
        groups_of_process: Lines ``number:controllers:path``.
        groups: Where their file system is mounted; version 2, version 1, or both.

    Source: The Linux kernel's cgroup-v2 (``memory.max``) and cgroup-v1/memory
    (``memory.limit_in_bytes``).
    """
    if not groups_of_process.is_file():
        return
    for line in groups_of_process.read_text(encoding="utf-8").splitlines():
        _, _, found = line.partition(":")
        controllers, colon, path = found.partition(":")
        if not colon:
            continue
        if controllers == "":
            for root in (groups, groups / "unified"):
                yield from _bounds(root, path, "memory.max")
        elif "memory" in controllers.split(","):
            yield from _bounds(groups / "memory", path, "memory.limit_in_bytes")


def _bounds(root: Path, path: str, name: str) -> Iterator[float]:
    """Of a group and all above it; a path outside a container's own root is not mounted in it."""
    group = PurePosixPath("/", path)
    for folder in (group, *group.parents):
        file = root / folder.relative_to("/") / name
        text = file.read_text(encoding="utf-8").strip() if file.is_file() else ""
        if text.isdigit():
            yield float(text)

"""How this process was launched: alone, or as one of several that train one run."""

import os
from typing import NamedTuple

from recbole_diffusion.base.errors import UserError

NEEDED = ("RANK", "MASTER_ADDR", "MASTER_PORT")


class Launch(NamedTuple):
    """This process among those of one training, as ``torchrun`` tells in the environment.

    Attributes:
        rank: From 0.
        size: Number of processes.
        local_rank: From 0, on this machine.
        local_size: Number of processes on this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1


def read_launch() -> Launch:
    """What the environment says; without ``WORLD_SIZE``, or with 1, one process.

    Raises:
        UserError: ``WORLD_SIZE`` above 1 without the rest, or with numbers that do not fit.
    """
    size = _number("WORLD_SIZE", 1, 1, None)
    if size == 1:
        return Launch()
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing:
        raise UserError(
            f"environment WORLD_SIZE: found {size} without {', '.join(missing)}, expected a launch "
            "by torchrun, which sets them, or no WORLD_SIZE"
        )
    rank = _number("RANK", 0, 0, size - 1)
    local_size = _number("LOCAL_WORLD_SIZE", size, 1, size)
    local_rank = _number("LOCAL_RANK", rank % local_size, 0, local_size - 1)
    return Launch(rank, size, local_rank, local_size)


def _number(name: str, default: int, least: int, most: int | None) -> int:
    text = os.environ.get(name) or str(default)
    if text.isdecimal() and int(text) >= least and (most is None or int(text) <= most):
        return int(text)
    found = f"environment {name}: found {text!r}"
    raise UserError(f"{found}, expected " + (f">= {least}" if most is None else f"{least}..{most}"))


def refuse_several(what: str) -> None:
    """Refuse what several processes would do once each.

    Args:
        what: Such as "the command compare".

    Raises:
        UserError: This is one of several processes of a launch.
    """
    size = read_launch().size
    if size > 1:
        raise UserError(
            f"{what}: found a launch of {size} processes (WORLD_SIZE), which share trainings and "
            "--evaluate alone; expected one process"
        )


def cores() -> int:
    """Of this machine, those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_of_a_rank(launch: Launch) -> int | None:
    """A rank's share of the cores; None where ``OMP_NUM_THREADS`` says how many.

    ``torchrun`` sets that to 1 where the user has not, and nothing tells the two apart.
    """
    is_default = os.environ.get("OMP_NUM_THREADS") == "1" and "TORCHELASTIC_RUN_ID" in os.environ
    if os.environ.get("OMP_NUM_THREADS") and not is_default:
        return None
    return max(cores() // launch.local_size, 1)

"""Launches of several processes, as torchrun or a scheduler makes them."""

import os
import socket
import sys
from pathlib import Path
from typing import NamedTuple

from forked import Served

ROOT = Path(__file__).resolve().parents[2]


class Ended(NamedTuple):
    code: int
    out: str


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def rank_environment(rank: int, size: int, port: int) -> dict[str, str]:
    return {
        **own_environment(),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def own_environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **changes}


def launch(size: int, script: str, *words: object, timeout: float = 300) -> list[Ended]:
    """Run a script of this folder as several ranks, and wait for all."""
    port = free_port()
    path = Path(__file__).with_name(script)
    ranks = [Served(path, words, rank_environment(rank, size, port)) for rank in range(size)]
    try:
        outs = [rank.communicate(timeout=timeout)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    return [Ended(rank.returncode, out) for rank, out in zip(ranks, outs, strict=True)]


def launch_by_torchrun(size: int, script: str, *words: object, timeout: float = 300) -> Ended:
    """The command itself needs no fresh interpreter; the ranks that it starts have their own."""
    command = Path(sys.executable).with_name("torchrun")
    options = [f"--nproc-per-node={size}", f"--master-port={free_port()}"]
    path = Path(__file__).with_name(script)
    process = Served(command, [*options, path, *words], own_environment())
    try:
        out = process.communicate(timeout=timeout)[0]
    finally:
        process.kill()
    return Ended(process.returncode, out)

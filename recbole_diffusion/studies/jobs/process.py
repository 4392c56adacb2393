"""The process of one job: what it is asked for, how it starts, and why it failed."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbole_diffusion.base.errors import DamagedFile
from recbole_diffusion.base.files import read_json, write_json

TASK, FAILURE, OUTPUT, MEMORY = "job.json", "failure.json", "output.txt", "memory.json"
REASON_LOST = f"its reason is lost: {FAILURE} is damaged"
# Holds the URL of the database of studies, which is written nowhere: it may hold a password.
STORAGE_VARIABLE = "RECBOLE_DIFFUSION_TUNE_STORAGE"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# Given as a text: `-m` would import this package, and with it PyTorch, before anything is run.
LAUNCH = Path(__file__).with_name("launch.py")


@dataclass(frozen=True)
class Job:
    """Work for one process.

    Attributes:
        name: For messages.
        kind: Jobs of one kind need about the same memory.
        folder: Where it works; ``job.json``, ``output.txt`` and ``failure.json`` lie there.
        task: What ``compare.worker`` is to do, as plain values.
        variables: Of the process's environment, beside this one's.
        then: Called when it has ended, however; gives the jobs to do next.
        may_use_gpu: Whether it takes a GPU where there is one.
    """

    name: str
    kind: str
    folder: Path
    task: dict[str, Any]
    variables: Mapping[str, str] = field(default_factory=dict)
    then: Callable[[], Sequence["Job"]] = tuple
    may_use_gpu: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a job ended: ``error`` is None where it did what it was to do."""

    job: Job
    seconds: float
    error: str | None = None


def prepare(job: Job) -> None:
    """Write what a job's process is asked for, in its folder."""
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / FAILURE).unlink(missing_ok=True)
    write_json(job.folder / TASK, job.task)


def start(
    folder: Path, variables: Mapping[str, str], working: Path | None = None
) -> "subprocess.Popen[bytes]":
    """Start the process of a prepared job; it ends when this one does.

    Args:
        folder: Of the job.
        variables: Of its environment, beside this one's.
        working: Its working directory; None: this one's.
    """
    command = [sys.executable, "-c", LAUNCH.read_text(encoding="utf-8"), str(folder)]
    with (folder / OUTPUT).open("ab") as output:
        # A session of its own: Ctrl-C reaches this process alone, which then ends the others.
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **variables},
            cwd=working,
            start_new_session=True,
        )


def environment(threads: int) -> dict[str, str]:
    """Variables by which a process has so many threads, and finds the modules of this one."""
    paths = [str(Path(path).resolve()) for path in sys.path]
    modules = {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
    return {**dict.fromkeys(THREAD_VARIABLES, str(threads)), **modules}


def error_of(folder: Path, code: int) -> str | None:
    """Why the process of a job failed, kept in its folder; None where it did not.

    Args:
        folder: Of the job.
        code: That the process ended with; below 0 for a signal.
    """
    return None if code == 0 else failed(folder, _reason(code))


def failed(folder: Path, reason: str) -> str:
    """Keep why a job failed in its folder, unless its process has; gives what is kept."""
    path = folder / FAILURE
    if not path.is_file():
        write_json(path, {"error": reason})
    return read_failure(folder) or reason


def read_failure(folder: Path) -> str | None:
    """Why the job of a folder failed, on one line; None where it did not."""
    path = folder / FAILURE
    try:
        return str(read_json(path, "error")["error"]) if path.is_file() else None
    except DamagedFile:
        return REASON_LOST


def _reason(code: int) -> str:
    if code >= 0:
        return f"its process ended with code {code}; {OUTPUT} may say why"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    hint = ", as the system does when memory runs out" if name == "SIGKILL" else ""
    return f"its process was killed by signal {-code} ({name}){hint}"

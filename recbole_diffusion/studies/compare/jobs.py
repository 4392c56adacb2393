"""Jobs in processes of their own, several at a time within a bound of memory."""

import logging
import math
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbole_diffusion.base.errors import DamagedFile
from recbole_diffusion.base.files import read_json, write_json
from recbole_diffusion.studies.compare.plan import FAILURE, read_failure

MEMORY = "memory.json"
TUNED = "tuned.json"
# Holds the URL of the database of studies, which is written nowhere: it may hold a password.
STORAGE_VARIABLE = "RECBOLE_DIFFUSION_TUNE_STORAGE"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
WAIT_SECONDS = 0.1
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
    """

    name: str
    kind: str
    folder: Path
    task: dict[str, Any]
    variables: Mapping[str, str] = field(default_factory=dict)
    then: Callable[[], Sequence["Job"]] = tuple


@dataclass(frozen=True)
class Outcome:
    """How a job ended: ``error`` is None where it did what it was to do."""

    job: Job
    seconds: float
    error: str | None = None


@dataclass
class Limits:
    """How many processes there may be, and how much memory for all of them.

    Attributes:
        processes: At the same time.
        memory_mb: MiB; the sum of their peaks, as far as they are known.
        peaks: Measured peaks in MiB by kind of job.
    """

    processes: int
    memory_mb: float
    peaks: dict[str, float] = field(default_factory=dict)
    _ignored: set[Path] = field(default_factory=set)

    def estimate(self, job: Job) -> float:
        """MiB that a job will need: as measured, else a fair share or the largest of any kind."""
        guess = max([self.memory_mb / self.processes, *self.peaks.values()])
        return self.peaks.get(job.kind, guess)

    def admits(self, job: Job, running: Sequence[Job]) -> bool:
        """Whether a job may start beside others; one alone always may."""
        if not running:
            return True
        needed = sum(map(self.estimate, [*running, job]))
        return len(running) < self.processes and needed <= self.memory_mb

    def measured(self, job: Job) -> None:
        """Take in the peak that an ended job, or an earlier one in its folder, has left."""
        path = job.folder / MEMORY
        if not path.is_file() or path in self._ignored:
            return
        try:
            peak = read_json(path, "peak_mb")["peak_mb"]
            if type(peak) not in (int, float) or not 0 <= peak < math.inf:
                raise DamagedFile(f"{path}: found {peak!r}, expected MiB")
        except DamagedFile as error:
            self._ignored.add(path)
            logging.getLogger().warning(f"{job.name}: no peak of memory is known: {error}")
        else:
            self.peaks[job.kind] = max(float(peak), self.peaks.get(job.kind, 0.0))


def run_jobs(
    jobs: Sequence[Job],
    limits: Limits,
    on_start: Callable[[Job], None],
    on_end: Callable[[Outcome], None],
) -> None:
    """Run all jobs; one that fails does not keep the others from running.

    When this process ends, however it ends, so do those that it started.

    Args:
        jobs: In the order in which they start where they may; what follows one comes first.
        limits: Learns the peaks of memory.
        on_start: Told of each job that starts.
        on_end: Told of each job that ends.
    """
    waiting = deque(jobs)
    running: dict[subprocess.Popen[bytes], tuple[Job, float]] = {}
    try:
        while waiting or running:
            if waiting and limits.admits(waiting[0], [job for job, _ in running.values()]):
                job = waiting.popleft()
                on_start(job)
                running[_start(job, limits.processes)] = job, time.monotonic()
                continue
            for process in [process for process in running if process.poll() is not None]:
                job, began = running.pop(process)
                limits.measured(job)
                on_end(Outcome(job, time.monotonic() - began, _error(job, process.returncode)))
                waiting.extendleft(reversed(job.then()))
            time.sleep(WAIT_SECONDS)
    finally:
        for process in running:
            process.kill()
        for process in running:
            process.wait()


def _start(job: Job, processes: int) -> "subprocess.Popen[bytes]":
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / FAILURE).unlink(missing_ok=True)
    write_json(job.folder / "job.json", job.task)
    command = [sys.executable, "-c", LAUNCH.read_text(encoding="utf-8"), str(job.folder)]
    with (job.folder / "output.txt").open("ab") as output:
        # A session of its own: Ctrl-C reaches this process alone, which then ends the others.
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**_environment(processes), **job.variables},
            start_new_session=True,
        )


def _environment(processes: int) -> dict[str, str]:
    """This process's, with the threads divided and the same modules to be found."""
    available = int(os.environ.get("OMP_NUM_THREADS", "0") or 0) or _cpu_count()
    threads = str(max(available // processes, 1))
    paths = [str(Path(path).resolve()) for path in sys.path]
    modules = {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
    return {**os.environ, **dict.fromkeys(THREAD_VARIABLES, threads), **modules}


def _cpu_count() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _error(job: Job, code: int) -> str | None:
    """Why a job failed, kept in its folder; None where it did not."""
    if code == 0:
        return None
    path = job.folder / FAILURE
    if not path.is_file():
        write_json(path, {"error": _reason(code)})
    return read_failure(job.folder)


def _reason(code: int) -> str:
    if code >= 0:
        return f"its process ended with code {code}; output.txt may say why"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    hint = ", as the system does when memory runs out" if name == "SIGKILL" else ""
    return f"its process was killed by signal {-code} ({name}){hint}"

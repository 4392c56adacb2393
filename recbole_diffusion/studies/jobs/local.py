"""Jobs in processes of this machine, several at a time within a bound of memory."""

import os
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.memory import machine_memory_mb
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.run_settings import RunSettings
from recbole_diffusion.studies.jobs.limits import Limits
from recbole_diffusion.studies.jobs.process import (
    Job,
    Outcome,
    environment,
    error_of,
    prepare,
    start,
)

WAIT_SECONDS = 0.1


class ThisMachine:
    """Processes of this machine; ``Cluster`` has the same for others'."""

    is_elsewhere = False
    # What becomes of a job first.
    word = "started"

    def limits(self, processes: int, memory_mb: float | None = None) -> Limits:
        """Limits of the machine.

        Args:
            processes: At the same time.
            memory_mb: MiB for all of them; None: what the system leaves.
        """
        return Limits(processes, memory_mb or machine_memory_mb())

    def run_jobs(
        self,
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
                    on_end(
                        Outcome(
                            job, time.monotonic() - began, error_of(job.folder, process.returncode)
                        )
                    )
                    waiting.extendleft(reversed(job.then()))
                time.sleep(WAIT_SECONDS)
        finally:
            for process in running:
                process.kill()
            for process in running:
                process.wait()


def _start(job: Job, processes: int) -> "subprocess.Popen[bytes]":
    prepare(job)
    return start(job.folder, {**environment(_threads(processes)), **job.variables})


def _threads(processes: int) -> int:
    """Of each of so many processes."""
    available = int(os.environ.get("OMP_NUM_THREADS", "0") or 0) or _cpu_count()
    return max(available // processes, 1)


def _cpu_count() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def modules_of(config: Config) -> list[str]:
    """Modules that register a model of the user's when they are imported.

    Raises:
        UserError: It was made where another process cannot import it.
    """
    module = config.registration.module
    if module is None:
        return []
    if module == "__main__":
        raise UserError(
            f"model {config.model}: runs in processes of their own cannot import what a script "
            "defines; expected the class and its `register` in a module"
        )
    return [module]


def asked_gpu(config: Config) -> bool | str:
    """Key ``use_gpu`` as it was given: ``config`` has it as this machine makes it."""
    asked: bool | str = config.external_config_dict.get(
        "use_gpu", RunSettings.keys()["use_gpu"].default
    )
    return asked

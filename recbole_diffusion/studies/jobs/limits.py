"""How many jobs a machine takes at a time, by their number and memory."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from recbole_diffusion.base.errors import DamagedFile
from recbole_diffusion.base.files import read_json
from recbole_diffusion.studies.jobs.process import MEMORY, Job


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

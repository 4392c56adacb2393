"""A search whose trials run in processes of their own, on this machine or on a Ray cluster."""

from collections.abc import Mapping
from typing import Any

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.studies.jobs.local import asked_gpu, modules_of
from recbole_diffusion.studies.jobs.process import STORAGE_VARIABLE, Job, Outcome
from recbole_diffusion.studies.jobs.workers import workers
from recbole_diffusion.studies.tune.search import Search

JOBS = "jobs"


def run_trials(
    search: Search,
    searched: Mapping[str, Any],
    storage: str | None,
    study_name: str | None,
    processes: int,
    address: str | None,
) -> None:
    """Run the trials that a search lacks.

    Args:
        search: This process's part in it, which tells the trials and writes the tables.
        searched: Arguments of ``make_task`` for the same search, as plain values.
        storage: URL of a database; None: a journal in the task's folder.
        study_name: In the storage; None: as ``Search`` names it.
        processes: Trials at the same time on a machine.
        address: Of a Ray cluster; None: this machine.

    Raises:
        UserError: No such cluster, or a process failed otherwise than by its trial's training;
            the others have run on.
        KeyboardInterrupt: After saying how to go on.
    """
    config, failures = search.task.config, []
    task = {
        "kind": "trial",
        "modules": modules_of(config),
        "searched": dict(searched),
        "study_name": study_name,
    }
    jobs = [
        Job(
            name=f"process {number}",
            kind="trial",
            folder=search.task.folder / JOBS / str(number),
            task=task,
            variables={STORAGE_VARIABLE: storage or ""},
            may_use_gpu=asked_gpu(config) is not False,
        )
        for number in range(search.lacking())
    ]

    def ended(outcome: Outcome) -> None:
        search.tell_finished()
        if outcome.error is not None:
            failures.append(f"{outcome.job.folder}: {outcome.error}")

    with workers(address) as those:
        try:
            those.run_jobs(jobs, those.limits(processes), lambda job: None, ended)
        except KeyboardInterrupt:
            search.tell_interrupted()
            raise
    search.tell_finished()
    if failures:
        raise UserError(failures[0])

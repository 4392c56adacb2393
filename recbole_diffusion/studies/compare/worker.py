"""The work of one job's process, which ``launch`` starts with the job's folder."""

import os
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from recbole_diffusion.base.errors import UserError, refusals_of, system_limit
from recbole_diffusion.base.files import read_json, write_json
from recbole_diffusion.data.split import masking_train_only
from recbole_diffusion.evaluation.per_user import (
    TRAIN_MASKED,
    per_user_frame,
    recorded_rankings,
    write_frame,
)
from recbole_diffusion.runs.quick_start import run_in_folder, saved_run
from recbole_diffusion.runs.run import peak_memory_mb
from recbole_diffusion.studies.compare.plan import is_finished
from recbole_diffusion.studies.jobs.process import FAILURE, MEMORY, STORAGE_VARIABLE, TASK

TUNED = "tuned.json"
# How long the process of a comparison that was killed may take to end.
ORPHAN_SECONDS = 30.0


def main(folder: Path) -> int:
    """Do what ``job.json`` in a folder says; a failure goes to ``failure.json`` on one line.

    Returns:
        0, or 1 for a failure.
    """
    task = read_json(folder / TASK)
    try:
        for module in task["modules"]:
            import_module(module)
        TASKS[task["kind"]](folder, task)
    except Exception as error:
        traceback.print_exc()
        text = " ".join(str(error).split())
        reason = system_limit(error) or f"{type(error).__name__}: {text}"
        reason = text if isinstance(error, UserError) else reason
        write_json(folder / FAILURE, {"error": reason})
        return 1
    finally:
        write_json(folder / MEMORY, {"peak_mb": peak_memory_mb(torch.device("cpu"))})
    return 0


def run_cell(folder: Path, task: dict[str, Any]) -> None:
    """Train and evaluate what is not yet there; then evaluate with train-only masks, if asked."""
    if not is_finished(folder):
        run_in_folder(
            folder,
            task["model"],
            task["dataset"],
            task["settings"],
            recorded_rankings,
            task["selects_on_test"],
            ORPHAN_SECONDS,
        )
    if task["with_train_masked"] and not (folder / TRAIN_MASKED).is_file():
        _evaluate_masking_train_only(folder)


def _evaluate_masking_train_only(folder: Path) -> None:
    run, trainer = saved_run(folder)
    loader = masking_train_only(run.config, run.split)
    with trainer.eval_collector.keeping_rankings() as kept:
        trainer.evaluate(loader, load_best_model=False)
    write_frame(folder / TRAIN_MASKED, per_user_frame(run.config, run.split, kept[-1], loader))


def tuned_settings() -> Any:
    """The function that searches the settings of a model.

    Raises:
        UserError: It, or what it needs, is not installed.
    """
    with refusals_of("key `tune`: leave it out, or install what is missing", ImportError):
        return import_module("recbole_diffusion.studies.tune.study").tuned_settings


def tune_model(folder: Path, task: dict[str, Any]) -> None:
    """Search the settings of one model; ``tuned.json`` says what was found."""
    tuned = tuned_settings()(
        task["model"],
        task["dataset"],
        task["config_files"],
        task["config_dict"],
        n_trials=task["n_trials"],
        minutes=task["minutes"],
        trial_minutes=task["trial_minutes"],
        folder=folder,
        storage=os.environ[STORAGE_VARIABLE] or None,
    )
    # Less the folder: results are committed, and hold no paths of a machine.
    found = {name: value for name, value in vars(tuned).items() if name != "folder"}
    write_json(folder / TUNED, {"asked": task, "found": found})


def run_trial(folder: Path, task: dict[str, Any]) -> None:
    """Run one trial of a search that other processes share."""
    make_task = import_module("recbole_diffusion.studies.tune.study").make_task
    search = import_module("recbole_diffusion.studies.tune.search").Search
    searched = make_task(**task["searched"])
    search(searched, os.environ[STORAGE_VARIABLE] or None, task["study_name"]).run_one()


TASKS = {"cell": run_cell, "tune": tune_model, "trial": run_trial}

if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

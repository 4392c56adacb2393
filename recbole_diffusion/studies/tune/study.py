"""What a search is asked for, and what it found."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_diffusion.settings.config import Config
from recbole_diffusion.studies.tune.grid import grid_space
from recbole_diffusion.studies.tune.search import Search, Tuned
from recbole_diffusion.studies.tune.space import read_space
from recbole_diffusion.studies.tune.task import Task, check_budget, hashes_of
from recbole_diffusion.studies.tune.trial import Clock


def tuned_settings(
    model: str | type,
    dataset: str,
    config_files: str | Sequence[str] = (),
    config_dict: Mapping[str, Any] | None = None,
    n_trials: int = 20,
    minutes: float | None = None,
    trial_minutes: float = 8.0,
    folder: str | Path = "tuning",
    storage: str | None = None,
    seed: int | None = None,
    *,
    study_name: str | None = None,
    space: str | None = None,
    grid: Mapping[str, Sequence[Any]] | None = None,
    clock: Clock = time.monotonic,
) -> Tuned:
    """Search a model's settings on validation; the same call after a kill goes on with the study.

    The first trial is the model with its defaults. Keys of ``config_dict`` are not searched. The
    test part is never scored.

    Args:
        model: Name or class of a model.
        dataset: Name of a data set.
        config_files: Property file or files; what they set are defaults of the search.
        config_dict: Keys and values of every trial.
        n_trials: Finished trials, of all processes that share the study.
        minutes: Of these trials together; None: no limit.
        trial_minutes: After which a trial ends at its best validation so far.
        folder: Of the study: its journal (without ``storage``), ``best.yaml``, ``trials.csv`` and
            ``study.json``. Processes of one machine may share it.
        storage: URL of a database that machines share.
        seed: Of the search; None: the run's ``seed``.
        study_name: In the storage; None: model and data set, in a database with a hash.
        space: Property file of the search space; None: the package's of the model.
        grid: Values by key; every combination is one trial, in place of a search.
        clock: Gives seconds.

    Raises:
        UserError: Bad settings, data, space or storage, a study of another search in their place,
            or no trial with a result.
        KeyboardInterrupt: The trial at hand is done again by the next call.
    """
    arguments = (model, dataset, config_files, config_dict, n_trials, minutes, trial_minutes)
    task = make_task(*arguments, folder, seed, space, grid)
    search = Search(task, storage, study_name, clock)
    search.run()
    return search.tuned()


def make_task(
    model: str | type,
    dataset: str,
    config_files: str | Sequence[str],
    config_dict: Mapping[str, Any] | None,
    n_trials: int,
    minutes: float | None,
    trial_minutes: float,
    folder: str | Path,
    seed: int | None,
    space: str | None,
    grid: Mapping[str, Sequence[Any]] | None,
) -> Task:
    """What ``tuned_settings`` was given, checked; the data are read for their hashes."""
    check_budget(n_trials, minutes, trial_minutes)
    files = [config_files] if isinstance(config_files, str) else list(config_files)
    keys = dict(config_dict or {})
    config = Config(model, dataset, files, keys)
    points: list[dict[str, Any]] = []
    if grid:
        dimensions, points = grid_space(config, grid, keys)
    else:
        dimensions = read_space(config, space, pinned=keys)
    split_hash, data_hash = hashes_of(config)
    return Task(
        config=config,
        files=files,
        keys=keys,
        space=dimensions,
        grid=points,
        seed=config["seed"] if seed is None else seed,
        n_trials=len(points) or (n_trials if dimensions else 1),
        minutes=minutes,
        trial_minutes=trial_minutes,
        folder=Path(folder).resolve(),
        split_hash=split_hash,
        data_hash=data_hash,
    )

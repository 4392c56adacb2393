"""The command ``tune``: its keys, and what it prints."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_diffusion.base.arguments import described_keys
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.log import run_logger
from recbole_diffusion.settings.kinds import TEXT, Kind, check_value, or_null
from recbole_diffusion.settings.property_files import shipped_name
from recbole_diffusion.settings.registry import find_model
from recbole_diffusion.settings.unread import given_keys, told_unread
from recbole_diffusion.settings.words import split_files

try:
    from recbole_diffusion.studies.tune.grid import parse_grid
    from recbole_diffusion.studies.tune.search import Search, Tuned
    from recbole_diffusion.studies.tune.shared import run_trials
    from recbole_diffusion.studies.tune.study import make_task
except ModuleNotFoundError as error:
    missing = str(error.name).partition(".")[0]
    raise UserError(
        f"tune needs `{missing}`, which is not installed: pip install optuna"
    ) from error

OPTIONS = (
    "trials",
    "minutes",
    "trial_minutes",
    "folder",
    "storage",
    "study_name",
    "space",
    "grid",
    "processes",
    "cluster",
)


def main(keys: dict[str, Any]) -> None:
    """Run the command.

    Args:
        keys: Of the command line.
    """
    options = {name: keys.pop(name) for name in OPTIONS if name in keys}
    if "grid" in options:
        options["grid"] = parse_grid(options["grid"])
    model, dataset = str(keys.pop("model", "InfoDCL")), str(keys.pop("dataset", "ml-100k"))
    config_files = split_files(keys.pop("config_files", ""))
    tune(model, dataset, config_files, keys, **options)


def keys_text() -> str:
    """The command's own keys, for ``tune --help``."""
    return described_keys(tune, config_dict="--key=value", grid="--grid key=v1,v2")


def tune(
    model: str | type = "InfoDCL",
    dataset: str = "ml-100k",
    config_files: str | Sequence[str] = (),
    config_dict: Mapping[str, Any] | None = None,
    *,
    trials: int = 20,
    minutes: float | None = None,
    trial_minutes: float = 8.0,
    folder: str | Path | None = None,
    storage: str | None = None,
    study_name: str | None = None,
    space: str | None = None,
    grid: Mapping[str, Sequence[Any]] | None = None,
    processes: int = 1,
    cluster: str | None = None,
) -> Tuned:
    """Search a model's settings on validation, and print the table of trials.

    Args:
        model: Name or class of a model.
        dataset: Name of a data set.
        config_files: Property file or files; what they set are defaults of the search.
        config_dict: Keys and values of every trial, which are not searched.
        trials: Finished trials, of all processes that share the study.
        minutes: Of these trials together; None: no limit.
        trial_minutes: After which a trial ends at its best validation so far.
        folder: Of the study; None: ``tuning/<model>-<dataset>``.
        storage: URL of a database; None: a journal in the folder.
        study_name: In the storage.
        space: Property file of the search space; None: the package's of the model.
        grid: Values by key; every combination is one trial, in place of a search.
        processes: Trials at the same time on a machine; above 1 each in a process of its own.
        cluster: Ray cluster whose machines run them: auto, or HOST:PORT; None: this machine.

    Returns:
        The best settings, and what they cost.

    Raises:
        UserError: As ``study.tuned_settings``.
        KeyboardInterrupt: The same call goes on with the study.
    """
    place = folder or Path("tuning") / f"{shipped_name(find_model(model))}-{dataset}"
    check_value("", "processes", processes, 1, {"processes": Kind((int,), 1, 1024)})
    check_value("", "cluster", cluster, None, {"cluster": or_null(TEXT)})
    arguments = (model, dataset, config_files, config_dict, trials, minutes, trial_minutes)
    task = make_task(*arguments, place, None, space, grid)
    search = Search(task, storage, study_name)
    registration, keys = task.config.registration, given_keys(task.files, task.keys)
    with run_logger(None, task.config["state"]) as log:
        for line in told_unread(task.config.model, registration, keys):
            log.warning(line)
    if processes == 1 and cluster is None:
        search.run()
    else:
        searched = {
            "model": task.config.registration.key,
            "dataset": dataset,
            "config_files": list(task.files),
            "config_dict": dict(task.keys),
            "n_trials": trials,
            "minutes": minutes,
            "trial_minutes": trial_minutes,
            "folder": str(task.folder),
            "seed": None,
            "space": space,
            "grid": grid,
        }
        run_trials(search, searched, storage, study_name, processes, cluster)
    search.log_table()
    return search.tuned()

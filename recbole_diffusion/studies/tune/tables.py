"""What a study holds, as text and as files of its folder."""

import csv
import io
import json
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from recbole_diffusion.base.errors import DamagedFile, UserError
from recbole_diffusion.base.files import read_json, write_json, written_whole
from recbole_diffusion.pages.tables import csv_cell
from recbole_diffusion.settings.property_files import run_command, shipped_name
from recbole_diffusion.settings.values import as_yaml
from recbole_diffusion.settings.words import format_words
from recbole_diffusion.studies.tune.task import Task, check_identity
from recbole_diffusion.studies.tune.trial import FINISHED

# That every finished trial has.
MARKS = ("slot", "settings", "outcome", "seconds", "epochs")
SCORED = ("score", "best_epoch", "valid")  # and every complete one
COLUMNS = ("trial", "outcome", "score", "best_epoch", "epochs", "seconds", "split_hash")


def finished_trials(study: optuna.Study, n_trials: int) -> list[FrozenTrial]:
    """Finished trials of the first slots, in the order of these."""
    trials = study.get_trials(deepcopy=False, states=FINISHED)
    counted = [trial for trial in trials if trial.user_attrs["slot"] < n_trials]
    return sorted(counted, key=lambda trial: trial.user_attrs["slot"])


def seconds_used(study: optuna.Study, n_trials: int) -> float:
    """By finished trials, each once."""
    return sum(trial.user_attrs["seconds"] for trial in finished_trials(study, n_trials))


def best_trial(study: optuna.Study, n_trials: int) -> FrozenTrial | None:
    """Of equals that of the lower slot; none of those that were given up or failed."""
    sign = 1 if study.direction == StudyDirection.MAXIMIZE else -1
    trials = finished_trials(study, n_trials)
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return max(complete, key=lambda trial: sign * trial.user_attrs["score"], default=None)


def format_trial(task: Task, trial: FrozenTrial) -> str:
    """One line: slot, score, epochs, seconds, mark, settings, and a split of its own."""
    marks, split = trial.user_attrs, _split(task, trial)
    score = "-" if marks.get("score") is None else f"{marks['score']:.4f}"
    settings = " ".join(f"{k}={_short(v)}" for k, v in marks["settings"].items())
    line = (
        f"trial {marks['slot']:>3}  {score:>7}  {marks['epochs']:>5} epochs  "
        f"{marks['seconds']:>7.1f} s  {marks['outcome']:<18}  {settings}"
    ).rstrip()
    return line if split in (None, task.split_hash) else f"{line}  split {split}"


def format_study(task: Task, study: optuna.Study, told: Set[int]) -> str:
    """The table of trials but for those told, what was asked and used, the best, and what is next.

    Args:
        task: What was searched.
        study: What it found.
        told: Numbers of trials whose lines stand above.
    """
    trials, best = finished_trials(study, task.n_trials), best_trial(study, task.n_trials)
    limit = "" if task.minutes is None else f" of {task.minutes:g}"
    minutes = seconds_used(study, task.n_trials) / 60
    splits = {split for trial in trials if (split := _split(task, trial)) is not None}
    is_one = len(splits) < 2
    split = f"split {min(splits, default=task.split_hash)}" if is_one else f"{len(splits)} splits"
    lines = [
        f"{task.config.model} on {task.config.dataset}, validation {task.valid_metric}, {split}",
        *(format_trial(task, trial) for trial in trials if trial.number not in told),
        f"used: {len(trials)} of {task.n_trials} trials, {minutes:.1f}{limit} minutes, "
        f"at most {task.trial_minutes:g} for a trial",
    ]
    if not task.space:
        lines.append(f"{task.config.model} has no search space: one trial at its defaults")
    if best is not None:
        lines.append(f"best: {_best_text(best.user_attrs)}")
    lines.append(f"files: {task.folder}")
    if best is not None:
        lines.append(f"next: {_next_command(task)}")
    return "\n".join(lines)


def _best_text(marks: Mapping[str, Any]) -> str:
    """The best trial; of one that was trained, its epoch, and what that says of the search."""
    text = f"trial {marks['slot']}, {marks['score']:.4f}"
    epoch, last = marks["best_epoch"], marks["epochs"] - 1
    if last < 1 or epoch < 0:  # a closed form, or never better than before training
        return text
    advice = {
        0: ", the first: a lower `learning_rate` may be better",
        last: ", the last: more `epochs` or minutes may be better",
    }
    return f"{text}, epoch {epoch} of 0 to {last}{advice.get(epoch, '')}"


def _next_command(task: Task) -> str:
    """Of a run with the best settings, whose test part is scored."""
    data_path = task.config.external_config_dict.get("data_path")
    place = {} if data_path is None else {"data_path": data_path}
    config = task.config
    return run_command(config.registration, config.dataset, task.folder / "best.yaml", **place)


def _split(task: Task, trial: FrozenTrial) -> str | None:
    """Hash of the split that a trial had; None for one of a grid that has none or does not say."""
    found: str | None = trial.user_attrs.get("split_hash", None if task.grid else task.split_hash)
    return found


def check_folder(folder: Path, identity: Mapping[str, Any]) -> None:
    """Refuse a folder that holds the study of another search.

    Raises:
        UserError: It does, or is no folder, or its ``study.json`` is damaged.
    """
    path = folder / "study.json"
    if folder.exists() and not folder.is_dir():
        raise UserError(f"key `folder`: found {str(folder)!r}, expected a folder")
    if not path.is_file():
        for name in ("best.yaml", "trials.csv"):
            if (folder / name).exists():
                raise UserError(
                    f"key `folder`: found {folder / name} and no study.json beside it, expected "
                    "the folder of a study, or one without files of these names"
                )
        return
    found = read_json(path, "identity")["identity"]
    check_identity(f"study in {folder}", found, identity)


def check_trials(damaged: str, study: optuna.Study) -> None:
    """Refuse a study whose finished trials lack their marks, as one that has lost lines.

    Args:
        damaged: What the message begins with.
        study: As it was read.

    Raises:
        DamagedFile: One does.
    """
    if len(study.directions) != 1:
        raise DamagedFile(f"{damaged}: found {len(study.directions)} directions")
    for trial in study.get_trials(deepcopy=False, states=FINISHED):
        needed = (*MARKS, *SCORED) if trial.state == TrialState.COMPLETE else MARKS
        missing = [name for name in needed if name not in trial.user_attrs]
        if missing:
            raise DamagedFile(f"{damaged}: trial {trial.number} has no {', '.join(missing)}")


def count_lost(task: Task, study: optuna.Study) -> int:
    """How many finished trials ``study.json`` has that the study lacks, as without its journal."""
    path = task.folder / "study.json"
    if not path.is_file():
        return 0
    known = {
        trial.user_attrs["slot"] for trial in study.get_trials(deepcopy=False, states=FINISHED)
    }
    return sum(row["trial"] not in known for row in read_json(path, "trials")["trials"])


def write_tables(task: Task, study: optuna.Study) -> None:
    """Write ``study.json``, ``trials.csv`` and, once there is a best trial, ``best.yaml``."""
    best = best_trial(study, task.n_trials)
    write_json(task.folder / "study.json", _metadata(task, study, best))
    _write(task.folder / "trials.csv", _csv(task, study))
    if best is not None:
        _write(task.folder / "best.yaml", _best_yaml(task, study, best))


def _write(path: Path, text: str) -> None:
    with written_whole(path) as stream:
        stream.write(text.encode())


def _metadata(task: Task, study: optuna.Study, best: FrozenTrial | None) -> dict[str, Any]:
    return {
        "study": study.study_name,
        "identity": task.identity(),
        "valid_metric": task.valid_metric,
        "asked": {"trials": task.n_trials, "minutes": task.minutes},
        "used": {
            "trials": len(finished_trials(study, task.n_trials)),
            "minutes": seconds_used(study, task.n_trials) / 60,
        },
        "has_space": bool(task.space),
        "best": None if best is None else _row(task, best),
        "trials": [_row(task, trial) for trial in finished_trials(study, task.n_trials)],
        "optuna": optuna.__version__,
    }


def _row(task: Task, trial: FrozenTrial) -> dict[str, Any]:
    marks = {**trial.user_attrs, "split_hash": _split(task, trial)}
    known = {"trial": marks["slot"], **{name: marks.get(name) for name in COLUMNS[1:]}}
    return {**known, "settings": marks["settings"], "valid": marks.get("valid")}


def _csv(task: Task, study: optuna.Study) -> str:
    """A row for each trial: marks, searched keys, validation metrics."""
    rows = [_row(task, trial) for trial in finished_trials(study, task.n_trials)]
    metrics = sorted({name for row in rows for name in row["valid"] or {}})
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*COLUMNS, *task.space, *metrics])
    for row in rows:
        settings = [_cell(row["settings"][key]) for key in task.space]
        scores = [(row["valid"] or {}).get(name) for name in metrics]
        writer.writerow([*(csv_cell(row[name]) for name in COLUMNS), *settings, *scores])
    return stream.getvalue()


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (list, dict, bool)) else csv_cell(value)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value)


def _best_yaml(task: Task, study: optuna.Study, best: FrozenTrial) -> str:
    model, marks = shipped_name(task.config.registration), best.user_attrs
    words = format_words({"model": model, "dataset": task.config.dataset})
    split = _split(task, best) or "of its settings"
    head = [
        f"# {' '.join(words)} --config_files=<this file>",
        f"# Trial {marks['slot']} of {len(finished_trials(study, task.n_trials))}, "
        f"{marks['outcome']}: validation {task.valid_metric} {marks['score']:.6f} at epoch "
        f"{marks['best_epoch']}; split {split}",
    ]
    settings = {**task.user_layer(), **marks["settings"]}
    text = as_yaml(settings, sort_keys=False) if settings else ""
    return "\n".join(head) + "\n" + text

"""One trial: settings, training under a limit of time, and its mark."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import optuna
from optuna.trial import FrozenTrial, TrialState
from recbole.utils import ModelType

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.files import scratch_folder
from recbole_diffusion.runs.quick_start import run_recbole_diffusion
from recbole_diffusion.runs.run import StopRun
from recbole_diffusion.studies.tune.task import Task

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
# What bad parameters make a model do: diverge, run out of memory, or refuse them.
FAILURES = (ValueError, RuntimeError, ArithmeticError, MemoryError)
PRUNED = "pruned"

Clock = Callable[[], float]


@dataclass
class Watch:
    """Follows one trial's validations, and ends it in time.

    Attributes:
        trial: Told each score.
        limit: Seconds; None for a model that is solved in one step, which cannot stop early.
        mark: Of a trial that reaches the limit.
        clock: Gives seconds.
        is_pruned: Whether a trial that falls behind the others is given up.
    """

    trial: optuna.Trial
    limit: float | None
    mark: str
    clock: Clock
    is_pruned: bool
    start: float = field(init=False)
    epochs: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.start = self.clock()

    def seconds(self) -> float:
        """Since the trial began."""
        return self.clock() - self.start

    def __call__(self, epoch: int, score: float) -> None:
        """Called after each validation.

        Raises:
            StopRun: The limit is reached, or the trial falls behind.
        """
        self.epochs = epoch + 1
        self.trial.report(score, epoch)
        if self.limit is not None and self.seconds() >= self.limit:
            raise StopRun(self.mark)
        if self.is_pruned and self.trial.should_prune():
            raise StopRun(PRUNED)


def run_trial(
    task: Task,
    trial: optuna.Trial,
    settings: Mapping[str, Any],
    seconds_left: float,
    clock: Clock = time.monotonic,
) -> float:
    """Train with these settings, score validation alone, and keep the mark, not the checkpoints.

    Args:
        task: The search.
        trial: Of its study.
        settings: Of the searched keys.
        seconds_left: Of the search; the trial's own limit may be lower.
        clock: Gives seconds.

    Returns:
        The validation score of the best epoch.

    Raises:
        optuna.TrialPruned: It was given up, or failed; the mark says which.
        UserError: The data have changed meanwhile.
    """
    limit = min(task.trial_minutes * 60, seconds_left)
    is_solved = task.config.registration.type == ModelType.TRADITIONAL
    mark = f"stopped at {limit / 60:.3g} min"
    # The defaults never: a search cannot end below them.
    is_pruned = not task.grid and trial.user_attrs["slot"] > 0
    watch = Watch(trial, None if is_solved else limit, mark, clock, is_pruned)
    folder = task.folder / "trials" / str(trial.number)
    with scratch_folder(folder):
        try:
            result = _train(task, settings, folder, watch)
        except FAILURES as error:
            reason = " ".join((str(error) or type(error).__name__).split())
            _write(trial, outcome=f"failed: {reason}", seconds=watch.seconds(), epochs=watch.epochs)
            raise optuna.TrialPruned from error
    score = result["valid"][task.valid_metric]
    _write(
        trial,
        outcome=result["stopped"] or "complete",
        seconds=watch.seconds(),
        epochs=result["epochs_trained"],
        best_epoch=result["best_epoch"],
        valid=result["valid"],
        score=score,
        split_hash=result["split_hash"],
    )
    if not task.grid and result["split_hash"] != task.split_hash:
        raise _DataChanged(task, result["split_hash"])
    if result["stopped"] == PRUNED:
        raise optuna.TrialPruned
    return float(score)


class _DataChanged(UserError):
    def __init__(self, task: Task, found: str) -> None:
        super().__init__(
            f"data set {task.config.dataset}: found split {found}, the study has {task.split_hash}"
        )


def _train(task: Task, settings: Mapping[str, Any], folder: Any, watch: Watch) -> dict[str, Any]:
    """A run that tells nothing but warnings, unless more than `info` is asked for."""
    is_usual = str(task.config["state"]).lower() == "info"
    return run_recbole_diffusion(
        task.config.registration.key,
        task.config.dataset,
        task.files,
        {**task.keys, **settings, **({"state": "warning"} if is_usual else {})},
        on_validation=watch,
        with_test=False,
        run_folder=folder,
    )


def give_up(trial: optuna.Trial, outcome: str) -> NoReturn:
    """Mark a trial that is not run.

    Raises:
        optuna.TrialPruned: Always.
    """
    _write(trial, outcome=outcome, seconds=0.0, epochs=0)
    raise optuna.TrialPruned


def reuse(trial: optuna.Trial, earlier: FrozenTrial) -> float:
    """The result of a finished trial with the same settings, at no cost.

    Returns:
        Its score.

    Raises:
        optuna.TrialPruned: It had none.
    """
    kept = {k: earlier.user_attrs.get(k) for k in ("best_epoch", "valid", "score", "split_hash")}
    outcome = f"same as {earlier.user_attrs['slot']}"
    _write(trial, outcome=outcome, seconds=0.0, epochs=0, **kept)
    if earlier.state == TrialState.PRUNED or earlier.value is None:
        raise optuna.TrialPruned
    return earlier.value


def _write(trial: optuna.Trial, **marks: Any) -> None:
    for name, value in marks.items():
        trial.set_user_attr(name, value)

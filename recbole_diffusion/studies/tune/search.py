"""A search that is seeded, goes on after a kill, and may be shared between processes."""

import hashlib
import json
import logging
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import NopPruner, PercentilePruner
from optuna.trial import FrozenTrial, TrialState

from recbole_diffusion.base.errors import UserError, refusals_of
from recbole_diffusion.base.files import make_folder, remove_scratch
from recbole_diffusion.base.log import run_logger
from recbole_diffusion.settings.property_files import shipped_name
from recbole_diffusion.studies.tune import tables
from recbole_diffusion.studies.tune.sampler import SlotSampler
from recbole_diffusion.studies.tune.storage import Worker, open_storage, quiet_optuna, shown_url
from recbole_diffusion.studies.tune.task import Task, check_identity
from recbole_diffusion.studies.tune.trial import FINISHED, Clock, give_up, reuse, run_trial

# A trial is given up if its best validation so far is in the last quarter of what finished trials
# had at the same epoch, from this epoch and number of finished trials on.
KEPT_PERCENTILE = 75.0
WARM_UP_EPOCHS = 20
WARM_UP_TRIALS = 4
# What Optuna raises at a journal that misses lines or holds others.
UNREADABLE = (ValueError, LookupError, TypeError, AssertionError, AttributeError, RuntimeError)
# A trial whose process was killed so often is taken for one that needs more memory than there is.
MAX_DEATHS = 3
# Seconds between two looks at what other workers do.
POLL = 0.5


@dataclass(frozen=True)
class Tuned:
    """What a search found, and what it cost.

    Attributes:
        settings: The searched keys at the best trial.
        best_trial: Its slot; 0 are the defaults.
        best_valid: Its validation score.
        best_outcome: Its mark, such as "complete" or "stopped at 8 min".
        valid_metric: What was scored.
        trials: Finished trials, of all processes together.
        minutes: That these took.
        asked_trials: The number that was asked for.
        asked_minutes: The minutes that were asked for; None: no limit.
        trial_minutes: The limit of one trial.
        has_space: False for a model without a search space, which has one trial at its defaults.
        folder: Of the study's files.
    """

    settings: dict[str, Any]
    best_trial: int
    best_valid: float
    best_outcome: str
    valid_metric: str
    trials: int
    minutes: float
    asked_trials: int
    asked_minutes: float | None
    trial_minutes: float
    has_space: bool
    folder: Path


class Search:
    """A study and this process's part in it.

    Args:
        task: What is searched.
        storage: URL of a database; None: a journal in the task's folder.
        study_name: Name of the study; None: made from the task.
        clock: Gives seconds.

    Raises:
        UserError: A storage that cannot be opened, or a study of another search.
    """

    def __init__(
        self,
        task: Task,
        storage: str | None = None,
        study_name: str | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.task, self._clock = task, clock
        identity = task.identity()
        tables.check_folder(task.folder, identity)
        self._worker = Worker(task.folder, has_heartbeat=storage is not None)
        self._level = str(task.config["state"])
        self._number = 0
        self._told: set[int] = set()  # numbers of the trials that were printed when they ended
        self._is_interrupted = False
        name = f"{shipped_name(task.config.registration)}-{task.config.dataset}"
        if storage is not None:
            digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
            name = f"{name}-{digest[:8]}"
        where = f"study in {shown_url(storage)}" if storage else task.folder / "study.journal"
        damaged = (
            f"{where}: found what is no sound record of a study, expected what was written; "
            "take another folder or name, or put back a copy"
        )
        with quiet_optuna(), refusals_of(damaged, *UNREADABLE):
            opened = open_storage(task.folder, storage)
            make_folder(task.folder)
            self.study = optuna.create_study(
                study_name=study_name or name,
                storage=opened,
                sampler=SlotSampler(task.seed, self._given()),
                pruner=NopPruner() if task.grid else _pruner(),
                direction=task.direction,
                load_if_exists=True,
            )
        if "identity" not in self.study.user_attrs:
            self.study.set_user_attr("identity", identity)
        check_identity(
            f"study {self.study.study_name!r}", self.study.user_attrs["identity"], identity
        )
        tables.check_trials(damaged, self.study)
        lost = tables.count_lost(task, self.study)
        if lost:
            self._log(
                logging.WARNING,
                f"{where}: lacks {lost} trials that study.json has; they are done again",
            )
        self.study.set_user_attr("asked", {"trials": task.n_trials, "minutes": task.minutes})

    def _given(self) -> list[dict[str, Any]]:
        """Parameters of the first slots: a grid's points, or the defaults."""
        points = self.task.grid or [self.task.defaults()]
        space = self.task.space
        return [{k: space[k].encode(v) for k, v in point.items()} for point in points]

    def run(self) -> None:
        """Run trials until, with those of other workers, the budget is spent."""
        tables.write_tables(self.task, self.study)
        with quiet_optuna(), self._worker.alive():
            while self._run_next():
                tables.write_tables(self.task, self.study)
        tables.write_tables(self.task, self.study)  # with what others have finished

    def run_one(self) -> None:
        """Run one trial to its end, unless the budget is spent; the tables are left to others."""
        with quiet_optuna(), self._worker.alive():
            self._run_next()

    def _run_next(self) -> bool:
        """Run one trial to its end; False where none is left to run and none runs elsewhere."""
        while True:
            self._worker.fail_dead(self.study)
            self._remove_leftovers()
            live = self._live()
            finished = [trial for trial in live if trial.state in FINISHED]
            is_spent = len(finished) >= self.task.n_trials or self._seconds_left() <= 0
            if is_spent and len(finished) == len(live):
                return False
            if is_spent or len(live) >= self.task.n_trials:
                time.sleep(POLL)  # others run what is left, and may die
            elif self._run_one():
                return True

    def lacking(self) -> int:
        """How many trials are not finished, and may still be run."""
        finished = tables.finished_trials(self.study, self.task.n_trials)
        return self.task.n_trials - len(finished) if self._seconds_left() > 0 else 0

    def tell_finished(self) -> None:
        """Print the trials that were not told yet, and write the tables."""
        tables.write_tables(self.task, self.study)
        for trial in tables.finished_trials(self.study, self.task.n_trials):
            if trial.number not in self._told:
                self._tell(trial)

    def tell_interrupted(self) -> None:
        """Say how to go on."""
        self._log(logging.CRITICAL, "interrupted; the same command goes on with the study")

    def _remove_leftovers(self) -> None:
        """Folders of trials that were killed, or are of a study that is no more."""
        folders = list((self.task.folder / "trials").glob("*"))  # first: others start trials
        trials = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        running = {str(trial.number) for trial in trials}
        left = [folder for folder in folders if folder.name not in running]
        remove_scratch(left)
        for folder in left:
            if folder.name.isdigit() and folder.is_dir() and not folder.is_symlink():
                with suppress(OSError):  # it holds something, which is not ours
                    folder.rmdir()

    def _run_one(self) -> bool:
        """Run a trial; gives whether it is finished."""
        try:
            self.study.optimize(self._objective, n_trials=1, catch=(_Surplus,))
        except optuna.exceptions.UpdateFinishedTrialError:
            return False  # taken for dead, and its slot given away
        except KeyboardInterrupt:
            self.tell_interrupted()
            raise
        except Exception as error:
            if self._is_interrupted:  # Optuna fails on its way out
                raise KeyboardInterrupt from error
            raise
        trial = self.study.get_trials(deepcopy=False)[self._number]
        if trial.state not in FINISHED:
            return False
        self._tell(trial)
        return True

    def _tell(self, trial: FrozenTrial) -> None:
        if self._log(logging.INFO, tables.format_trial(self.task, trial)):
            self._told.add(trial.number)

    def _objective(self, trial: optuna.Trial) -> float:
        self._number = trial.number
        trial.set_user_attr("worker", self._worker.name)
        slot = self._free_slot(trial.number)
        if slot >= self.task.n_trials:
            raise _Surplus
        trial.set_user_attr("slot", slot)
        settings = self._settings(trial, slot)
        trial.set_user_attr("settings", settings)
        for earlier in self._live():
            if earlier.state in FINISHED and earlier.user_attrs["settings"] == settings:
                return reuse(trial, earlier)
        if self._deaths(slot, settings) >= MAX_DEATHS:
            give_up(trial, f"failed: its process was killed {MAX_DEATHS} times")
        try:
            return run_trial(self.task, trial, settings, self._seconds_left(), self._clock)
        except KeyboardInterrupt:
            self._is_interrupted = True
            trial.set_user_attr("interrupted", True)
            raise

    def _deaths(self, slot: int, settings: Mapping[str, Any]) -> int:
        """How often a process was killed at a trial of these settings, by the system or by hand."""
        failed = self.study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
        # One that was killed when its score stood was not killed by what it needs.
        marks = [
            trial.user_attrs
            for trial in failed
            if not {"interrupted", "outcome"} & trial.user_attrs.keys()
        ]
        return sum(m.get("slot") == slot and m.get("settings") == settings for m in marks)

    def _settings(self, trial: optuna.Trial, slot: int) -> dict[str, Any]:
        """Defaults outside the space are kept as they are, and not told to the sampler."""
        is_first = slot == 0 and not self.task.grid
        settings = self.task.defaults() if is_first else {}
        for key, dimension in self.task.space.items():
            if key not in settings or dimension.holds(settings[key]):
                settings[key] = dimension.suggest(trial, key)
        return settings

    def _free_slot(self, number: int) -> int:
        """The lowest slot that no earlier trial has: earlier trials choose first."""
        while True:
            earlier = [trial for trial in self._live() if trial.number < number]
            if all("slot" in trial.user_attrs for trial in earlier):
                slots = {trial.user_attrs["slot"] for trial in earlier}
                return min(set(range(len(slots) + 1)) - slots)
            time.sleep(POLL / 10)
            self._worker.fail_dead(self.study)

    def _live(self) -> list[FrozenTrial]:
        trials = self.study.get_trials(deepcopy=False)
        return [trial for trial in trials if trial.state != TrialState.FAIL]

    def _seconds_left(self) -> float:
        if self.task.minutes is None:
            return math.inf
        return self.task.minutes * 60 - tables.seconds_used(self.study, self.task.n_trials)

    def log_table(self) -> None:
        """Print what was found, and the trials that have not been told, at any log level."""
        self._log(logging.CRITICAL, tables.format_study(self.task, self.study, self._told))

    def _log(self, level: int, text: str) -> bool:
        """Tell of something; gives whether the log level lets it through."""
        with run_logger(None, self._level) as logger:
            logger.log(level, text)
            return logger.isEnabledFor(level)

    def tuned(self) -> Tuned:
        """The best trial, of equals that of the lower slot.

        Raises:
            UserError: No trial gave a result.
        """
        task, best = self.task, tables.best_trial(self.study, self.task.n_trials)
        trials = tables.finished_trials(self.study, task.n_trials)
        if best is None:
            marks = [
                trial.user_attrs["outcome"]
                for trial in tables.finished_trials(self.study, self.task.n_trials)
            ]
            raise UserError(
                f"search of {task.config.model} on {task.config.dataset}: none of {len(marks)} "
                f"trials gave a result; the first {marks[0]}"
            )
        return Tuned(
            settings=best.user_attrs["settings"],
            best_trial=best.user_attrs["slot"],
            best_valid=best.user_attrs["score"],
            best_outcome=best.user_attrs["outcome"],
            valid_metric=task.valid_metric,
            trials=len(trials),
            minutes=tables.seconds_used(self.study, self.task.n_trials) / 60,
            asked_trials=task.n_trials,
            asked_minutes=task.minutes,
            trial_minutes=task.trial_minutes,
            has_space=bool(task.space),
            folder=task.folder,
        )


def _pruner() -> PercentilePruner:
    return PercentilePruner(
        KEPT_PERCENTILE, n_startup_trials=WARM_UP_TRIALS, n_warmup_steps=WARM_UP_EPOCHS
    )


class _Surplus(Exception):
    """Two workers began the last trial; the later one withdraws."""

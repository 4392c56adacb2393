"""One run: its data, model and trainer, from the first epoch to the scores of the best one."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from numpy.linalg import LinAlgError
from recbole.utils import ModelType

from recbole_diffusion.base.environment import environment
from recbole_diffusion.base.errors import (
    advising,
    host_refusals,
    refusals_of,
    system_limit,
)
from recbole_diffusion.base.files import LOCK, remove_unfinished, sole_writer
from recbole_diffusion.base.log import kept_messages, run_logger
from recbole_diffusion.base.randomness import own_randomness, seed_everything
from recbole_diffusion.base.ranks import current_ranks
from recbole_diffusion.data.split import load_split
from recbole_diffusion.models.history_weights import weigh_histories
from recbole_diffusion.runs import report
from recbole_diffusion.runs.ids import refresh_facts
from recbole_diffusion.runs.trackers import tracker_of
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.recency import HOST_MODELS
from recbole_diffusion.settings.words import format_word
from recbole_diffusion.training.callbacks import Callback, OnValidation, teller
from recbole_diffusion.training.callbacks import StopRun as StopRun
from recbole_diffusion.training.energy import energy_facts
from recbole_diffusion.training.loss_forms import refuse_unshared

# How RecBole's models refuse their settings: by bare asserts, or where something first fails.
HOST_REFUSALS = (
    *(ValueError, ImportError, AssertionError, OSError, RuntimeError, LookupError),
    *(TypeError, AttributeError, ZeroDivisionError),
)


# A context of a run and its trainer, entered for the evaluation of the best epoch.
Recorder = Callable[[Any, Any], AbstractContextManager[None]]


@dataclass(frozen=True)
class Hooks:
    """What a caller adds to a run.

    Attributes:
        on_validation: Called with epoch and score after each validation; may raise ``StopRun``.
        callbacks: Told of the run as it goes.
        with_test: Whether the test part is scored, and a table printed.
        recorder: Entered for the evaluation of the best epoch.
    """

    on_validation: Callable[[int, float], None] | None = None
    callbacks: Sequence[Callback] = ()
    with_test: bool = True
    recorder: Recorder = lambda run, trainer: nullcontext()


NO_HOOKS = Hooks()


class Run:
    """Settings, data and model of a run, before anything of it is written.

    Args:
        config: The settings.
        is_trained: Whether training follows: the process's generators go on from the run's seed,
            and large data may be kept for further runs, below ``output_dir``.
        warnings: Told before anything else.

    Attributes:
        config: The settings.
        split: The data.
        network: The model, fresh, on its device.
        messages: What was told while data and model were made, for the run's log.
        setup_seconds: That making the model took; some of RecBole's are solved there.
    """

    def __init__(
        self, config: Config, is_trained: bool = True, warnings: Sequence[str] = ()
    ) -> None:
        self.config = config
        with kept_messages(config["state"]) as self.messages:
            for warning in warnings if current_ranks().is_first else ():
                getLogger().warning(warning)
            self.split = load_split(config, is_trained)
            config["split_hash"] = self.split.digest
            config["data_hash"] = self.split.data_digest
            with _draws(config, is_trained):
                made = _timed(_make_model, config, self.split.train._dataset)
            if current_ranks().is_shared and made[0].type != ModelType.TRADITIONAL:
                refuse_unshared(made[0], config)
        self.network, self.setup_seconds = made

    @property
    def n_parameters(self) -> int | None:
        """What gradients train; None for RecBole's models that are solved without any."""
        if self.network.type == ModelType.TRADITIONAL:
            return None  # their one parameter is there for the optimiser alone
        return sum(p.numel() for p in self.network.parameters() if p.requires_grad)

    def make_trainer(self, folder: Path) -> Any:
        """The trainer whose checkpoints lie in ``folder``."""
        self.config["checkpoint_dir"] = str(folder)
        trainer = self.config.registration.trainer_class(self.config, self.network)
        trainer.eval_collector.data_collect(self.split.train)  # counts that some metrics need
        trainer.eval_collector.item_groups = self.split.item_groups
        trainer.unranked_items = self.unranked_items
        return trainer

    @property
    def unranked_items(self) -> torch.Tensor | None:
        """Cold items, bool [n_items], if the model cannot score them."""
        return None if self.config.scores_cold_items else self.split.cold_items

    def evaluate(self, trainer: Any, with_test: bool = True) -> dict[str, Any]:
        """Scores of the best epoch's checkpoint, without test if so asked."""
        best = trainer.load_checkpoint(trainer.saved_model_file)
        result = {
            "model": self.config["model"],
            "is_host_model": self.config.registration.is_host,
            "dataset": self.config["dataset"],
            "split_hash": self.split.digest,
            "seed": self.config["seed"],
            "valid_metric": self.config["valid_metric"].lower(),
            "best_epoch": best["epoch"],
            "run_folder": self.config["checkpoint_dir"],
        }
        if self.split.cold_items is not None:
            result["cold_items"] = int(self.split.cold_items.sum())
            result["scores_cold_items"] = self.config.scores_cold_items
        parts = {"valid": self.split.valid, **({"test": self.split.test} if with_test else {})}
        for name, part in parts.items():
            scores, seconds = _timed(trainer.evaluate, part, load_best_model=False)
            result |= {name: dict(scores), f"{name}_seconds": seconds}
        return result


def _draws(config: Config, is_trained: bool) -> AbstractContextManager[None]:
    """Where a model's first parameters are drawn: in a stage of its own if no training follows."""
    if not is_trained:
        return own_randomness(config["seed"], config["device"])
    seed_everything(config["seed"])
    return nullcontext()


def train(
    run: Run,
    folder: Path,
    is_resumed: bool = False,
    hooks: Hooks = NO_HOOKS,
    wait_seconds: float = 0.0,
    warm_start: Callable[[Any], None] | None = None,
) -> dict[str, Any]:
    """Train in a folder, or go on there, and score the best epoch.

    Args:
        run: Settings, data and model.
        folder: Of the run; exists.
        is_resumed: Whether to go on from ``last.pth``.
        hooks: What a caller adds.
        wait_seconds: For another process that is ending there.
        warm_start: Gives the model, once prepared, what an older run learned.

    Returns:
        What ``result.json`` holds.

    Raises:
        UserError: Another process is at work there, or a loss that is no number.
    """
    ranks, log_level = current_ranks(), run.config["state"]
    run_log = run_logger(folder, log_level, run.messages, run.config["verbose"])
    lock = sole_writer(folder / LOCK, wait_seconds) if ranks.is_first else nullcontext()
    with lock, run_log as logger:
        for place in (folder, folder / "pretrain") if ranks.is_first else ():
            remove_unfinished(place)
        try:
            with host_refusals(f"model {run.config.model}", ImportError):
                trainer = run.make_trainer(folder)
                if warm_start is not None:
                    trainer.warm_start = partial(warm_start, run.network)
                if is_resumed:
                    trainer.resume(run.split.train)
                    ranks.wait()  # all have read what the first writes next
                report.log_start(logger, run, trainer)
                with _told(run.config, hooks, is_resumed) as (trainer.tell, ended):
                    result = _fit_and_evaluate(run, trainer, hooks)
                    report.write_result(result)
                    ended.append(result)
        except KeyboardInterrupt:
            # Critical, so that it is told at any log level.
            if hooks.with_test:  # else it is a part of something larger, which tells
                logger.critical(f"interrupted; {_how_to_go_on(folder)}")
            raise
        except Exception as error:
            if hooks.with_test and system_limit(error) is not None:
                error.add_note(_how_to_go_on(folder))
            raise
        if hooks.with_test:
            report.log_table(logger, run.config, result)
    return result


@contextmanager
def _told(
    config: Config, hooks: Hooks, is_resumed: bool
) -> Iterator[tuple[Callable[[Mapping[str, Any]], None], list[dict[str, Any]]]]:
    """Tell callbacks of start and end; gives what tells them of epochs, and a list for the result.

    Trackers come first, and are so told of an epoch that a caller's own callback stops at.
    """
    callbacks = [*tracker_of(config), *hooks.callbacks]
    if hooks.on_validation is not None:
        callbacks.append(OnValidation(hooks.on_validation, config["valid_metric"].lower()))
    is_first, folder = current_ranks().is_first, config["checkpoint_dir"]
    ended: list[dict[str, Any]] = []
    started: list[Callback] = []
    try:
        for callback in callbacks if is_first else ():
            callback.on_start(folder, config.settable(), is_resumed)
            started.append(callback)
        yield teller(callbacks, folder), ended
    finally:
        for callback in started:
            callback.on_end(ended[0] if ended else None)


def _how_to_go_on(folder: Path) -> str:
    if (folder / "last.pth").is_file():
        return f"to go on: {format_word('resume', folder)}"
    return "it had no checkpoint yet: start it anew"


def _fit_and_evaluate(run: Run, trainer: Any, hooks: Hooks) -> dict[str, Any]:
    config, split = run.config, run.split
    if config["device"].type == "cuda":
        torch.cuda.reset_peak_memory_stats(config["device"])
    stopped = None
    try:
        trainer.fit(
            split.train,
            split.valid,
            show_progress=config["show_progress"],
        )
    except StopRun as reason:
        stopped = str(reason)
    with hooks.recorder(run, trainer):
        scores = run.evaluate(trainer, hooks.with_test)
    return {
        **scores,
        "stopped": stopped,
        **refresh_facts(Path(config["checkpoint_dir"])),
        "epochs_trained": trainer.epochs_trained,
        "parameters": run.n_parameters,
        "setup_seconds": run.setup_seconds,
        "pretrain_seconds": trainer.pretrain_seconds,
        "train_seconds_per_epoch": trainer.train_seconds / max(trainer.epochs_trained, 1),
        **energy_facts(config),
        "peak_memory_mb": peak_memory_mb(config["device"]),
        "environment": environment(config["device"]),
    }


def _timed(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    result = function(*args, **kwargs)
    return result, time.perf_counter() - start


def _make_model(config: Config, train_dataset: Any) -> Any:
    """The model on its device; what it refuses in its settings is the user's to mend."""
    is_host = config.registration.is_host
    kinds = HOST_REFUSALS if is_host else (ValueError, ImportError)
    singular = "its matrix cannot be inverted: raise the penalty, such as key `reg_weight`"
    size = f"{train_dataset.user_num} users and {train_dataset.item_num} items"
    refused = f"model {config.model} with these settings"
    with (
        host_refusals(refused, *kinds),
        advising(f"making {config.model} for {size}"),
        refusals_of(f"{refused}: {singular}", *([LinAlgError] if is_host else [])),
    ):
        model = config.model_class(config, train_dataset)
        if is_host and config.registration.name in HOST_MODELS:
            weigh_histories(model, config, train_dataset)
        return model.to(config["device"])


def peak_memory_mb(device: torch.device) -> float:
    """Peak of the run's GPU allocations, or of the process's resident memory since its start."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == "win32":  # has no such count
        return float("nan")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)

"""One run, from settings to the table of results; going on with one, and scoring one again."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from numpy.linalg import LinAlgError
from recbole.utils import ModelType

from recbole_diffusion.base.environment import environment
from recbole_diffusion.base.log import kept_messages
from recbole_diffusion.base.log import run_logger
from recbole_diffusion.runs import report
from recbole_diffusion.training.checkpoint import read_checkpoint
from recbole_diffusion.settings.config import Config, settable
from recbole_diffusion.data.split import load_split, masking_train_only
from recbole_diffusion.base.errors import (
    DamagedFile,
    UserError,
    advising,
    host_refusals,
    refusals_of,
    system_limit,
)
from recbole_diffusion.base.files import LOCK, read_json, remove_unfinished, sole_writer
from recbole_diffusion.settings.keys import HOST_CODE_KEYS, declared_keys
from recbole_diffusion.settings.recency import HOST_MODELS
from recbole_diffusion.models.history_weights import weigh_histories
from recbole_diffusion.settings.property_files import default_layers, run_command
from recbole_diffusion.base.randomness import repeatable_operations, seed_everything
from recbole_diffusion.settings.registry import Registration, find_model
from recbole_diffusion.settings.words import format_word

# How RecBole's models refuse their settings: by bare asserts, or where something first fails.
HOST_REFUSALS = (
    *(ValueError, ImportError, AssertionError, OSError, RuntimeError, LookupError),
    *(TypeError, AttributeError, ZeroDivisionError),
)
# What a resumed or evaluated run may be given anew: where it runs and what it shows.
KEYS_OF_PLACE = ("data_path", "gpu_id", "show_progress", "state", "use_gpu", "verbose")
# Settings that change no result: where a run is, what it shows, how evaluations are cut up.
KEYS_WITHOUT_EFFECT = (
    *KEYS_OF_PLACE,
    "output_dir",
    "metric_decimal_place",
    "eval_memory_mb",
    "eval_batch_users",
    "log_wandb",
    "wandb_project",
)
# Arguments of RecBole's ``run_recbole``, and what serves for them.
HOST_ARGUMENTS = {
    "config_file_list": "name the files by `config_files`",
    "saved": "a run always keeps its checkpoints, in its folder",
    "queue": "the result is what the function returns",
}
# What stands around the evaluation of the best epoch, given the run and its trainer.
Recorder = Callable[[Any, Any], AbstractContextManager[None]]


class StopRun(Exception):
    """Raised by ``on_validation`` to end training there; its text says why, in the result."""


@dataclass(frozen=True)
class Hooks:
    """What a caller adds to a run.

    Attributes:
        on_validation: Called with epoch and score after each validation; may raise ``StopRun``.
        with_test: Whether the test part is scored, and a table printed.
        recorder: Stands around the evaluation of the best epoch.
    """

    on_validation: Callable[[int, float], None] | None = None
    with_test: bool = True
    recorder: Recorder = lambda run, trainer: nullcontext()


NO_HOOKS = Hooks()


def run_recbole_diffusion(
    model: str | type = "InfoDCL",
    dataset: str = "ml-100k",
    config_files: str | Sequence[str] = (),
    config_dict: Mapping[str, Any] | None = None,
    *,
    on_validation: Callable[[int, float], None] | None = None,
    with_test: bool = True,
    run_folder: str | Path | None = None,
    **others: Any,
) -> dict[str, Any]:
    """Train a model, pick its best epoch on validation, and evaluate that on test.

    Args:
        model: Name (``InfoDCL``, ``LightGCN``, ``recbole.DiffRec``) or class of a model.
        dataset: Name of a data set; see ``data.folders.list_datasets``.
        config_files: Property file or files, later ones first in precedence.
        config_dict: Keys and values above the files, as on the command line.
        on_validation: Called after each validation with the epoch, from 0, and the score of
            ``valid_metric``; it may raise ``StopRun``.
        with_test: False never scores the test part, and prints no table.
        run_folder: Where the run is kept, made if missing, without files of a run's names; None
            makes one under ``output_dir``.
        **others: Refused; what RecBole's ``run_recbole`` takes is named with what serves here.

    Returns:
        What ``result.json`` in the run's folder holds: ``valid`` and ``test`` metrics, best epoch,
        split hash, times in seconds, peak memory in MiB, number of parameters, the folder, and
        ``stopped``, why ``on_validation`` ended training, else None.

    Raises:
        UserError: Bad settings or data; raised before training, nothing written but, where a file
            of embeddings is at fault, the run's folder.
        TypeError: An argument that it does not take.
        KeyboardInterrupt: After saying how to go on.
    """
    for name in others:
        serves = HOST_ARGUMENTS.get(name, "settings are given by `config_dict`")
        raise TypeError(f"run_recbole_diffusion takes no argument `{name}`: {serves}")
    files = [config_files] if isinstance(config_files, str) else config_files
    config = Config(model, dataset, files, config_dict)
    with repeatable_operations(config["device"]):
        run = _Run(config)
        folder = report.new_run_folder(config, run_folder)
        return _train(run, folder, hooks=Hooks(on_validation, with_test))


def resume_run(folder: str | Path, config_dict: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Go on with an interrupted run, to the bits that it would have ended with.

    That holds on the CPU with the same packages and number of threads, for models that keep what
    training changes in parameters, persistent buffers, or public attributes that are numbers,
    texts, tensors or numeric arrays. A run that has ended is not touched.

    Args:
        folder: The run's folder.
        config_dict: New values for ``KEYS_OF_PLACE``.

    Returns:
        As ``run_recbole_diffusion``.

    Raises:
        UserError: No run that began training, other keys, or data that have changed.
        KeyboardInterrupt: After saying how to go on.
    """
    has_ended = (Path(folder) / "result.json").is_file()
    has_last = (Path(folder) / "last.pth").is_file()
    checkpoint = "best.pth" if has_ended and not has_last else "last.pth"
    config = _saved_config("--resume", folder, checkpoint, config_dict)
    path = Path(folder).resolve()
    if has_ended:
        result = _saved_result(path)
        with run_logger(None, config["state"]) as logger:
            report.log_table(logger, config, {**result, "run_folder": str(path)})
            logger.info(f"this run is complete, nothing was done{_more_of(config, result, path)}")
        return result
    with repeatable_operations(config["device"]):
        return _train(_Run(config), path, is_resumed=True)


def _more_of(config: Config, result: Mapping[str, Any], folder: Path) -> str:
    """How to train longer than a run that has ended; nothing for a model that is solved."""
    if config.registration.type == ModelType.TRADITIONAL:
        return ""
    is_whole = result.get("epochs_trained", 0) >= config["epochs"]
    key = "epochs" if is_whole else "stopping_step"  # what ended it
    longer = {key: 2 * max(config[key], 1)}
    return (
        f"; longer, as a new run: {_new_run(config.registration, config.dataset, folder, longer)}"
    )


def _new_run(
    registration: Registration, dataset: str, folder: Path, changes: Mapping[str, Any]
) -> str:
    return run_command(registration, dataset, folder / "config.yaml", **changes)


def _saved_result(folder: Path) -> dict[str, Any]:
    path = folder / "result.json"
    try:
        found = read_json(path, "model", "dataset", "best_epoch", "valid", "test")
        for part in ("valid", "test"):
            metrics = found[part]
            is_table = isinstance(metrics, dict) and all(
                type(value) in (int, float) for value in metrics.values()
            )
            if not is_table:
                raise DamagedFile(f"{path}: {part}: found {metrics!r}, expected metrics by name")
    except DamagedFile as error:
        raise DamagedFile(f"{error}; without this file --resume evaluates the run again") from error
    return found


def run_in_folder(
    folder: str | Path,
    model: str,
    dataset: str,
    settings: Mapping[str, Any],
    recorder: Recorder,
    selects_on_test: bool = False,
    wait_seconds: float = 0.0,
) -> dict[str, Any]:
    """Train in a given folder, or go on with the run that was interrupted there.

    Args:
        folder: The run's own; made if missing.
        model: Name of a model.
        dataset: Name of a data set.
        settings: Effective settings of a run, as ``Config.settable`` gives them.
        recorder: Entered for the evaluation of the best epoch.
        selects_on_test: Whether the best epoch is picked on the test part, every item outside the
            train part a candidate, as some papers' code does. Not for results of one's own.
        wait_seconds: For another process that is ending there.

    Returns:
        As ``run_recbole_diffusion``.

    Raises:
        UserError: Bad settings or data, or data that have changed.
    """
    path = Path(folder).resolve()
    path.mkdir(parents=True, exist_ok=True)
    is_resumed = (path / "last.pth").is_file()
    if is_resumed:
        place = {key: settings[key] for key in KEYS_OF_PLACE}
        config = _saved_config("a run in its folder", path, "last.pth", place)
    else:
        config = Config(model, dataset, (), settings)
    with repeatable_operations(config["device"]):
        run = _Run(config)
        if selects_on_test:
            run.split = replace(run.split, valid=masking_train_only(config, run.split))
        return _train(run, path, is_resumed, Hooks(recorder=recorder), wait_seconds)


def evaluate_run(
    folder: str | Path, config_dict: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Score the best checkpoint of a run on validation and test; nothing is written.

    Args:
        folder: The run's folder.
        config_dict: New values for ``KEYS_OF_PLACE``.

    Returns:
        ``valid`` and ``test`` metrics, best epoch, split hash, times in seconds, the folder.

    Raises:
        UserError: No run with a best epoch, other keys, or data that have changed.
    """
    config = _saved_config("--evaluate", folder, "best.pth", config_dict)
    with repeatable_operations(config["device"]):
        run = _Run(config)
        with run_logger(None, config["state"]) as logger:
            result = run.evaluate(run.make_trainer(Path(folder).resolve()))
            report.log_table(logger, config, result)
    return result


def load_run(folder: str | Path, config_dict: Mapping[str, Any] | None = None) -> tuple[Any, Any]:
    """The model of a saved run's best epoch, to score with, and the data it was trained on.

    Args:
        folder: The run's folder.
        config_dict: New values for ``KEYS_OF_PLACE``.

    Returns:
        The model, in evaluation mode, and RecBole's dataset of the train split, whose ``token2id``
        and ``id2token`` map original ids and internal ones.

    Raises:
        UserError: No run with a best epoch, other keys, or data that have changed.
    """
    run, _ = saved_run(folder, config_dict)
    return run.network.eval(), run.split.train._dataset


def saved_run(folder: str | Path, config_dict: Mapping[str, Any] | None = None) -> tuple[Any, Any]:
    """A saved run with the parameters of its best epoch, and its trainer; as ``load_run``."""
    run = _Run(_saved_config("load_run", folder, "best.pth", config_dict))
    with run_logger(None, run.config["state"]):
        trainer = run.make_trainer(Path(folder).resolve())
        trainer.load_checkpoint(trainer.saved_model_file)
    return run, trainer


def _saved_config(
    caller: str, folder: str | Path, file: str, changes: Mapping[str, Any] | None
) -> Config:
    """The settings of a run, from one of its checkpoints."""
    other = sorted(set(changes or ()) - set(KEYS_OF_PLACE))
    if other:
        raise UserError(
            f"{caller} takes its settings from the run: found {', '.join(other)} beside it, "
            f"expected at most {', '.join(KEYS_OF_PLACE)}{_advice_on(Path(folder), changes or {})}"
        )
    if not Path(folder).is_dir():
        raise UserError(f"{caller}: found {str(folder)!r}, expected the folder of a run")
    if not (Path(folder) / file).is_file():
        raise UserError(f"{caller}: {folder} holds no {file}: the run stopped before it had one")
    path = Path(folder) / file
    saved = read_checkpoint(path)
    with refusals_of(f"checkpoint {path}: not of a run", LookupError, TypeError, AttributeError):
        model, dataset, settings = saved["registered_as"], saved["dataset"], saved["settings"]
        kept = settable(settings)
    kept = _without_retired(path, kept, find_model(model))
    return Config(model, dataset, (), changes, (f"checkpoint {path}", kept))


def _advice_on(folder: Path, changes: Mapping[str, Any]) -> str:
    """How to start a run with other settings than those of a saved one, if it can be read."""
    files = [folder / name for name in ("last.pth", "best.pth") if (folder / name).is_file()]
    if not files or {"model", "dataset", "config_files"} & set(changes):
        return ""
    with suppress(UserError, LookupError):
        saved = read_checkpoint(files[0])
        command = _new_run(find_model(saved["registered_as"]), saved["dataset"], folder, changes)
        return f"; other settings are a new run: {command}"
    return ""


def _without_retired(
    path: Path, settings: Mapping[str, Any], registration: Registration
) -> dict[str, Any]:
    """Settings of a saved run without those that nothing reads any more; tells of these."""
    defaults = {key for _, layer in default_layers(registration, "") for key in layer}
    unread = set(settings) - defaults - declared_keys() - HOST_CODE_KEYS
    if unread:
        getLogger().warning(
            f"checkpoint {path}: dropped key {', '.join(sorted(unread))}, which nothing reads "
            "any more"
        )
    return {key: value for key, value in settings.items() if key not in unread}


class _Run:
    """Settings, data and model of a run, before anything is written.

    Attributes:
        config: The settings.
        split: The data.
        network: The model, fresh, on its device.
        messages: What was told while data and model were made, for the run's log.
        setup_seconds: That making the model took; some of RecBole's are solved there.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        with kept_messages(config["state"]) as self.messages:
            seed_everything(config["seed"])
            self.split = load_split(config)
            config["split_hash"] = self.split.digest
            config["data_hash"] = self.split.data_digest
            seed_everything(config["seed"])
            made = _timed(_make_model, config, self.split.train._dataset)
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
        return trainer

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
        parts = {"valid": self.split.valid, **({"test": self.split.test} if with_test else {})}
        for name, part in parts.items():
            scores, seconds = _timed(trainer.evaluate, part, load_best_model=False)
            result |= {name: dict(scores), f"{name}_seconds": seconds}
        return result


def _train(
    run: _Run,
    folder: Path,
    is_resumed: bool = False,
    hooks: Hooks = NO_HOOKS,
    wait_seconds: float = 0.0,
) -> dict[str, Any]:
    log_level = run.config["state"]
    own_log = run_logger(folder, log_level, run.messages, run.config["verbose"])
    with sole_writer(folder / LOCK, wait_seconds), own_log as logger:
        for place in (folder, folder / "pretrain"):
            remove_unfinished(place)
        try:
            with host_refusals(f"model {run.config.model}", ImportError):
                trainer = run.make_trainer(folder)
                if is_resumed:
                    trainer.resume(run.split.train)
                report.log_start(logger, run, trainer)
                result = _fit_and_evaluate(run, trainer, hooks)
        except KeyboardInterrupt:
            # Critical, so that it is told at any log level.
            if hooks.with_test:  # else it is a part of something larger, which tells
                logger.critical(f"interrupted; {_how_to_go_on(folder)}")
            raise
        except Exception as error:
            if hooks.with_test and system_limit(error) is not None:
                error.add_note(_how_to_go_on(folder))
            raise
        report.write_result(result)
        if hooks.with_test:
            report.log_table(logger, run.config, result)
    return result


def _how_to_go_on(folder: Path) -> str:
    if (folder / "last.pth").is_file():
        return f"to go on: {format_word('resume', folder)}"
    return "it had no checkpoint yet: start it anew"


def _fit_and_evaluate(run: _Run, trainer: Any, hooks: Hooks) -> dict[str, Any]:
    config, split = run.config, run.split
    if config["device"].type == "cuda":
        torch.cuda.reset_peak_memory_stats(config["device"])
    stopped = None
    try:
        trainer.fit(
            split.train,
            split.valid,
            show_progress=config["show_progress"],
            callback_fn=hooks.on_validation,
        )
    except StopRun as reason:
        stopped = str(reason)
    with hooks.recorder(run, trainer):
        scores = run.evaluate(trainer, hooks.with_test)
    return {
        **scores,
        "stopped": stopped,
        "epochs_trained": trainer.epochs_trained,
        "parameters": run.n_parameters,
        "setup_seconds": run.setup_seconds,
        "pretrain_seconds": trainer.pretrain_seconds,
        "train_seconds_per_epoch": trainer.train_seconds / max(trainer.epochs_trained, 1),
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

"""Runs by one call each: starting one, going on with one, scoring one again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from recbole_diffusion.base.launch import refuse_several
from recbole_diffusion.base.log import run_logger
from recbole_diffusion.base.randomness import repeatable_operations
from recbole_diffusion.base.ranks import sharing
from recbole_diffusion.data.split import masking_train_only
from recbole_diffusion.runs import report
from recbole_diffusion.runs.refresh import warm_start_of
from recbole_diffusion.runs.run import Hooks, Recorder, Run, train
from recbole_diffusion.runs.saved import more_of, saved_config, saved_result
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.run_settings import KEYS_OF_PLACE
from recbole_diffusion.settings.unread import given_keys, told_unread
from recbole_diffusion.training.callbacks import Callback

# Arguments of RecBole's ``run_recbole``, and what serves for them.
HOST_ARGUMENTS = {
    "config_file_list": "name the files by `config_files`",
    "saved": "a run always keeps its checkpoints, in its folder",
    "queue": "the result is what the function returns",
}


def run_recbole_diffusion(
    model: str | type = "InfoDCL",
    dataset: str = "ml-100k",
    config_files: str | Sequence[str] = (),
    config_dict: Mapping[str, Any] | None = None,
    *,
    on_validation: Callable[[int, float], None] | None = None,
    callbacks: Sequence[Callback] = (),
    with_test: bool = True,
    run_folder: str | Path | None = None,
    **others: Any,
) -> dict[str, Any]:
    """Train a model, pick its best epoch on validation, and evaluate that on test.

    Processes that ``torchrun`` launched share the training, and each returns the result.

    Args:
        model: Name (``InfoDCL``, ``LightGCN``, ``recbole.DiffRec``) or class of a model.
        dataset: Name of a data set; see ``data.folders.list_datasets``.
        config_files: Property file or files, later ones first in precedence.
        config_dict: Keys and values above the files, as on the command line.
        on_validation: Called after each validation with the epoch, from 0, and the score of
            ``valid_metric``; it may raise ``StopRun``.
        callbacks: Told of the run as it goes; see ``Callback``.
        with_test: False never scores the test part, and prints no table.
        run_folder: Where the run is kept, made if missing, without files of a run's names; None
            makes one under ``output_dir``.
        **others: Refused; what RecBole's ``run_recbole`` takes is named with what serves here.

    Returns:
        What ``result.json`` in the run's folder holds: ``valid`` and ``test`` metrics, best epoch,
        split hash, times in seconds, peak memory in MiB, number of parameters, the folder, and
        ``stopped``, why a callback ended training, else None.

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
    with sharing():
        config = Config(model, dataset, files, config_dict)
        with repeatable_operations(config["device"]):
            keys = given_keys(files, config_dict) if with_test else []  # else a part of a search
            run = Run(config, warnings=told_unread(config.model, config.registration, keys))
            folder = report.new_run_folder(config, run_folder)
            return train(run, folder, hooks=Hooks(on_validation, callbacks, with_test))


def resume_run(
    folder: str | Path,
    config_dict: Mapping[str, Any] | None = None,
    *,
    callbacks: Sequence[Callback] = (),
) -> dict[str, Any]:
    """Go on with an interrupted run, to the bits that it would have ended with.

    That holds on the CPU with the same packages and number of threads, for models that keep what
    training changes in parameters, persistent buffers, or public attributes that are numbers,
    texts, tensors or numeric arrays. A run that has ended is not touched. Other processes than
    began it, or more or fewer of them, may share the rest.

    Args:
        folder: The run's folder.
        config_dict: New values for ``KEYS_OF_PLACE``.
        callbacks: Told of the rest of the run; see ``Callback``.

    Returns:
        As ``run_recbole_diffusion``.

    Raises:
        UserError: No run that began training, other keys, or data that have changed.
        KeyboardInterrupt: After saying how to go on.
    """
    with sharing():
        return _resumed(folder, config_dict, Hooks(callbacks=callbacks))


def _resumed(
    folder: str | Path, config_dict: Mapping[str, Any] | None, hooks: Hooks
) -> dict[str, Any]:
    has_ended = (Path(folder) / "result.json").is_file()
    has_last = (Path(folder) / "last.pth").is_file()
    checkpoint = "best.pth" if has_ended and not has_last else "last.pth"
    config = saved_config("--resume", folder, checkpoint, config_dict)
    path = Path(folder).resolve()
    if has_ended:
        result = saved_result(path)
        with run_logger(None, config["state"]) as logger:
            report.log_table(logger, config, {**result, "run_folder": str(path)})
            logger.info(f"this run is complete, nothing was done{more_of(config, result, path)}")
        return result
    with repeatable_operations(config["device"]):
        run = Run(config)
        return train(run, path, True, hooks, warm_start=warm_start_of(run, path))


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
    refuse_several("a run of a comparison or search")
    path = Path(folder).resolve()
    path.mkdir(parents=True, exist_ok=True)
    is_resumed = (path / "last.pth").is_file()
    if is_resumed:
        place = {key: settings[key] for key in KEYS_OF_PLACE}
        config = saved_config("a run in its folder", path, "last.pth", place)
    else:
        config = Config(model, dataset, (), settings)
    with repeatable_operations(config["device"]):
        run = Run(config)
        if selects_on_test:
            run.split = replace(run.split, valid=masking_train_only(config, run.split))
        return train(run, path, is_resumed, Hooks(recorder=recorder), wait_seconds)


def evaluate_run(
    folder: str | Path, config_dict: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Score the best checkpoint of a run on validation and test; nothing is written.

    Processes that ``torchrun`` launched share the users.

    Args:
        folder: The run's folder.
        config_dict: New values for ``KEYS_OF_PLACE``.

    Returns:
        ``valid`` and ``test`` metrics, best epoch, split hash, times in seconds, the folder.

    Raises:
        UserError: No run with a best epoch, other keys, or data that have changed.
    """
    with sharing():
        config = saved_config("--evaluate", folder, "best.pth", config_dict)
        with repeatable_operations(config["device"]):
            run = Run(config, is_trained=False)
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
    with run_logger(None, "warning"):  # what settings tell is told again as the model is made
        config = saved_config("run", folder, "best.pth", config_dict)
    run = Run(config, is_trained=False)
    with run_logger(None, run.config["state"]):
        trainer = run.make_trainer(Path(folder).resolve())
        trainer.load_checkpoint(trainer.saved_model_file)
    return run, trainer

"""One run, from settings to the table of results."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from recbole_diffusion import report
from recbole_diffusion.config import Config
from recbole_diffusion.data.split import Split, load_split
from recbole_diffusion.errors import refusals_of
from recbole_diffusion.randomness import seed_everything


def run_recbole_diffusion(
    model: str | type = "InfoDCL",
    dataset: str = "ml-100k",
    config_files: str | Sequence[str] = (),
    config_dict: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train a model, pick its best epoch on validation, and evaluate that on test.

    Args:
        model: Name (``InfoDCL``, ``LightGCN``, ``recbole.DiffRec``) or class of a model.
        dataset: Name of a data set; see ``data.folders.list_datasets``.
        config_files: Property file or files, later ones first in precedence.
        config_dict: Keys and values above the files, as on the command line.

    Returns:
        What ``result.json`` in the run's folder holds: ``valid`` and ``test`` metrics, best epoch,
        split hash, times in seconds, peak memory in MiB, number of parameters, the folder.

    Raises:
        UserError: Bad settings or data; raised before training, nothing written.
        KeyboardInterrupt: After saying where the last checkpoint is.
    """
    files = [config_files] if isinstance(config_files, str) else config_files
    config = Config(model, dataset, files, config_dict)
    seed_everything(config["seed"])
    split = load_split(config)
    config["split_hash"] = split.digest
    seed_everything(config["seed"])
    network = _make_model(config, split.train._dataset)

    folder = report.new_run_folder(config)
    config["checkpoint_dir"] = str(folder)
    with report.run_logger(folder, config["state"]) as logger:
        report.log_start(logger, config, split, network)
        try:
            result = _train_and_evaluate(config, split, network)
        except KeyboardInterrupt:
            # Critical, so that it is told at any log level.
            logger.critical(f"interrupted; last finished epoch: {folder / 'last.pth'}")
            raise
        report.log_result(logger, config, result)
    return result


def _train_and_evaluate(config: Config, split: Split, network: Any) -> dict[str, Any]:
    if config["device"].type == "cuda":
        torch.cuda.reset_peak_memory_stats(config["device"])
    with refusals_of(f"model {config.model}", ImportError):
        trainer = config.registration.trainer_class(config, network)
        trainer.fit(split.train, split.valid, show_progress=config["show_progress"])
    trainer.load_checkpoint(trainer.saved_model_file)
    valid, valid_seconds = _timed(trainer.evaluate, split.valid, load_best_model=False)
    test, test_seconds = _timed(trainer.evaluate, split.test, load_best_model=False)
    return {
        "model": config["model"],
        "is_host_model": config.registration.is_host,
        "dataset": config["dataset"],
        "split_hash": split.digest,
        "seed": config["seed"],
        "best_epoch": trainer.best_epoch,
        "epochs_trained": trainer.epochs_trained,
        "valid": dict(valid),
        "test": dict(test),
        "parameters": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "pretrain_seconds": trainer.pretrain_seconds,
        "train_seconds_per_epoch": trainer.train_seconds / max(trainer.epochs_trained, 1),
        "valid_seconds": valid_seconds,
        "test_seconds": test_seconds,
        "peak_memory_mb": _peak_memory_mb(config["device"]),
        "environment": report.environment(config["device"]),
        "run_folder": config["checkpoint_dir"],
    }


def _timed(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    result = function(*args, **kwargs)
    return result, time.perf_counter() - start


def _make_model(config: Config, train_dataset: Any) -> Any:
    """The model on its device; what it refuses in its settings is the user's to mend."""
    with refusals_of(f"model {config.model}", ValueError, ImportError):
        return config.model_class(config, train_dataset).to(config["device"])


def _peak_memory_mb(device: torch.device) -> float:
    """Peak of the run's GPU allocations, or of the process's resident memory since its start."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == "win32":  # has no such count
        return float("nan")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)

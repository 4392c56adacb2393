"""One run, from settings to the table of results."""

import resource
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from recbole_diffusion import report
from recbole_diffusion.config import Config
from recbole_diffusion.data.split import load_split
from recbole_diffusion.errors import refusals_of
from recbole_diffusion.randomness import seed_everything


def run_recbole_diffusion(
    model: str | type = "InfoDCL",
    dataset: str = "ml-100k",
    config_files: Sequence[str] = (),
    config_dict: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train a model, pick its best epoch on validation, and evaluate that on test.

    Args:
        model: Name (``InfoDCL``, ``LightGCN``, ``recbole.DiffRec``) or class of a model.
        dataset: Name of a data set; see ``data.folders.list_datasets``.
        config_files: Property files, later ones first in precedence.
        config_dict: Keys and values above the files, as on the command line.

    Returns:
        What ``result.json`` in the run's folder holds: ``valid`` and ``test`` metrics, best epoch,
        split hash, times in seconds, peak memory in MiB, number of parameters, the folder.

    Raises:
        UserError: Bad settings or data; raised before training, nothing written.
        KeyboardInterrupt: After saying where the last checkpoint is.
    """
    config = Config(model, dataset, config_files, config_dict)
    seed_everything(config["seed"])
    split = load_split(config)
    config["split_hash"] = split.digest
    seed_everything(config["seed"])
    network = _make_model(config, split.train._dataset)

    folder = report.new_run_folder(config)
    config["checkpoint_dir"] = str(folder)
    with report.run_logger(folder, config["state"]) as logger:
        report.log_start(logger, config, split, network)
        trainer = config.registration.trainer_class(config, network)
        try:
            with refusals_of(f"model {config.model}", ImportError):
                trainer.fit(split.train, split.valid, show_progress=config["show_progress"])
        except KeyboardInterrupt:
            logger.warning(f"interrupted; last finished epoch: {trainer.last_model_file}")
            raise
        start = time.perf_counter()
        valid = trainer.evaluate(split.valid)
        valid_seconds = time.perf_counter() - start
        test = trainer.evaluate(split.test, load_best_model=False)
        result = {
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
            "train_seconds_per_epoch": trainer.train_seconds / max(trainer.epochs_trained, 1),
            "validation_seconds": valid_seconds,
            "peak_memory_mb": _peak_memory_mb(config["device"]),
            "run_folder": str(folder),
        }
        report.log_result(logger, config, result)
    return result


def _make_model(config: Config, train_dataset: Any) -> Any:
    """The model on its device; what it refuses in its settings is the user's to mend."""
    with refusals_of(f"model {config.model}", ValueError, ImportError):
        return config.model_class(config, train_dataset).to(config["device"])


def _peak_memory_mb(device: torch.device) -> float:
    """Peak of the GPU's allocations, or of the process's resident memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)

"""A run's folder, its log, and what is told before and after training."""

import json
import logging
import os
import platform
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import recbole
import torch
import yaml
from tqdm import tqdm

from recbole_diffusion.errors import UserError

HANDLER_NAME = "recbole_diffusion"
_UNUSABLE = "key `output_dir`: no folder can be made in {!r}"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def new_run_folder(config: Any) -> Path:
    """Make a folder under ``output_dir`` that no other run has, also of runs started together."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    while True:
        name = f"{config['model']}-{config['dataset']}-{stamp}-{secrets.token_hex(3)}"
        folder = Path(config["output_dir"]) / name
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not folder.is_dir():
                raise UserError(_UNUSABLE.format(config["output_dir"])) from None
            continue
        except OSError as error:
            raise UserError(_UNUSABLE.format(config["output_dir"]) + f": {error}") from error
        return folder.resolve()


def environment(device: torch.device) -> dict[str, str | int]:
    """What results to the last bit hang on: device, threads and versions."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "device": f"{device.type} {name}",
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "recbole": recbole.__version__,
    }


class _Console(logging.Handler):
    """Writes around a progress bar instead of through it."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record))


class _PlainFormatter(logging.Formatter):
    """Without the colours that RecBole puts into its messages."""

    def format(self, record: logging.LogRecord) -> str:
        return _COLOUR.sub("", super().format(record))


@contextmanager
def run_logger(folder: Path, level: str) -> Iterator[logging.Logger]:
    """The root logger, which RecBole uses, writing to the console and to ``folder/run.log``.

    Handlers are removed at the end, so that a second run in the process has a log of its own.
    """
    logger = logging.getLogger()
    before = logger.level
    file_handler = logging.FileHandler(folder / "run.log", encoding="utf-8")
    file_handler.setFormatter(_PlainFormatter("%(asctime)s %(levelname)s %(message)s"))
    # RecBole finds the run's folder through this handler.
    file_handler.set_name(HANDLER_NAME)
    console = _Console()
    console.setFormatter(_PlainFormatter("%(message)s"))
    logger.setLevel(level.upper())
    handlers = (file_handler, console)
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield logger
    finally:
        logger.setLevel(before)
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()


def log_start(logger: logging.Logger, config: Any, split: Any, network: Any) -> None:
    """Settings, data and model; the settings also go to ``config.yaml`` in the run's folder."""
    settings = config.settable()
    text = yaml.safe_dump(settings, sort_keys=True, allow_unicode=True)
    head = f"# --model={config['model']} --dataset={config['dataset']} --config_files=<this file>\n"
    (Path(config["checkpoint_dir"]) / "config.yaml").write_text(head + text, encoding="utf-8")
    logger.info(
        "settings:\n" + "\n".join(f"  {k}: {v}" for k, v in settings.items() if v is not None)
    )
    data = split.dataset
    sizes = ", ".join(f"{name} {size}" for name, size in split.sizes.items())
    logger.info(
        f"data: {config['dataset']} in {config['data_path']}\n"
        f"  {data.user_num - 1} users, {data.item_num - 1} items, {data.inter_num} interactions "
        f"({sizes}), split {split.digest}"
    )
    logger.info(f"model: {network}")
    logger.info(f"device: {config['device']}; run folder: {config['checkpoint_dir']}")


def log_result(logger: logging.Logger, config: Any, result: dict[str, Any]) -> None:
    """The final table; the same values, unrounded, go to ``result.json``."""
    path = Path(result["run_folder"]) / "result.json"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)
    logger.info(format_result(result, config["metric_decimal_place"]))


def format_result(result: dict[str, Any], places: int) -> str:
    """Metrics of validation and test side by side, then the costs."""
    lines = [
        f"{result['model']} on {result['dataset']}, best epoch {result['best_epoch']} "
        f"of {result['epochs_trained']}",
        f"{'metric':<14}{'validation':>12}{'test':>12}",
    ]
    for name, value in result["valid"].items():
        lines.append(f"{name:<14}{value:>12.{places}f}{result['test'][name]:>12.{places}f}")
    lines += [
        f"{'parameters':<30}{result['parameters']:>12,}",
        f"{'pre-training, s':<30}{result['pretrain_seconds']:>12.3f}",
        f"{'training, s an epoch':<30}{result['train_seconds_per_epoch']:>12.3f}",
        f"{'evaluation of validation, s':<30}{result['valid_seconds']:>12.3f}",
        f"{'evaluation of test, s':<30}{result['test_seconds']:>12.3f}",
        f"{'peak memory, MiB':<30}{result['peak_memory_mb']:>12.0f}",
        f"results: {result['run_folder']}",
    ]
    return "\n".join(lines)

"""Patches of how RecBole's trainers pick the best epoch and report."""

import os
from collections.abc import Callable
from functools import partial
from logging import FileHandler, Logger
from typing import Any

from recbole_diffusion.host.patch import Patch, in_every_version


def _early_stopping(
    value: float, best: float, cur_step: int, max_step: int, bigger: bool = True
) -> tuple[float, int, bool, bool]:
    """The host's rule, but a tie keeps the earlier epoch."""
    if value > best if bigger else value < best:
        return value, 0, False, True
    return best, cur_step + 1, cur_step + 1 > max_step, False


def _keep_earlier_epoch_on_ties() -> None:
    from recbole.trainer import trainer

    trainer.early_stopping = _early_stopping


def _clear_finished_bars() -> None:
    from recbole.trainer import trainer

    trainer.tqdm = partial(trainer.tqdm, leave=False, disable=None)


class _NoTensorboard:
    """In place of a writer where no run writes."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None


def _get_tensorboard(logger: Logger) -> Any:
    """A writer beside the run's log file; without one, nothing is written."""
    from recbole_diffusion.training.curves import Curves

    for handler in logger.handlers:
        if isinstance(handler, FileHandler) and handler.get_name() == "recbole_diffusion":
            return Curves(os.path.join(os.path.dirname(handler.baseFilename), "tensorboard"))
    return _NoTensorboard()


def _keep_tensorboard_in_run_folder() -> None:
    from recbole.trainer import trainer

    trainer.get_tensorboard = _get_tensorboard


PATCHES = (
    Patch(
        "keep_earlier_epoch_on_ties",
        "a later epoch with an equal validation score replaces the best one",
        in_every_version,
        _keep_earlier_epoch_on_ties,
    ),
    Patch(
        "clear_finished_bars",
        "finished progress bars stay, two lines an epoch, and fill logs",
        in_every_version,
        _clear_finished_bars,
    ),
    Patch(
        "keep_tensorboard_in_run_folder",
        "TensorBoard files go to the working directory, under names that collide",
        in_every_version,
        _keep_tensorboard_in_run_folder,
    ),
)

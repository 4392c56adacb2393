"""What RecBole's trainers have, for the classes that are mixed in before one of them."""

from collections.abc import Callable
from typing import Any

import torch


class HostAttributes:
    """Attributes and methods of RecBole's ``Trainer``."""

    model: Any
    config: Any
    logger: Any
    optimizer: Any
    tensorboard: Any
    _add_hparam_to_tensorboard: Callable[..., None]
    _add_train_loss_to_tensorboard: Callable[..., None]
    _neg_sample_batch_eval: Callable[..., Any]
    epochs: int
    eval_step: int
    device: torch.device
    start_epoch: int
    cur_step: int
    stopping_step: int
    valid_metric: str
    valid_metric_bigger: bool
    best_valid_score: float
    best_valid_result: dict[str, float] | None
    test_batch_size: int
    tot_item_num: int

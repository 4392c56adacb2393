"""Trainers whose optimiser updates each weight once a step."""

from typing import Any

import torch
from torch.optim import Optimizer

from recbole_diffusion.training.trainer import DiffusionTrainer


def can_fuse(optimizer: Optimizer, device_type: str) -> bool:
    """Whether the optimiser's update of one kind of device is a single pass over the weights.

    Args:
        optimizer: One of PyTorch's.
        device_type: Where the weights lie, such as "cuda".
    """
    if isinstance(optimizer, torch.optim.Adagrad):
        return device_type == "cpu"  # on CUDA in later releases than this package asks for
    return "fused" in optimizer.defaults


class RowTrainer(DiffusionTrainer):
    """Updates the weights in one pass over them.

    A step sees a few hundred rows, or some of the embeddings, and updates all weights: passes over
    these, of which Adam makes a dozen, would take a tenth to a quarter of the step.
    """

    def _build_optimizer(self, **kwargs: Any) -> Optimizer:
        """RecBole's optimiser, fused where it can be."""
        optimizer: Optimizer = super()._build_optimizer(**kwargs)
        if can_fuse(optimizer, self.device.type):
            for group in optimizer.param_groups:
                group["fused"] = True
        return optimizer

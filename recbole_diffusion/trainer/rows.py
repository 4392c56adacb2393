"""Trainer of models on interaction rows."""

from typing import Any

from torch.optim import Optimizer

from recbole_diffusion.trainer.base import DiffusionTrainer


class RowTrainer(DiffusionTrainer):
    """Updates the weights in one pass over them.

    A step sees a few hundred rows, and the weights are as wide as these: passes over the weights,
    of which Adam makes a dozen, would take a tenth of the step.
    """

    def _build_optimizer(self, **kwargs: Any) -> Optimizer:
        """RecBole's optimiser, fused where it can be."""
        optimizer: Optimizer = super()._build_optimizer(**kwargs)
        for group in optimizer.param_groups:
            if "fused" in group:
                group["fused"] = True
        return optimizer

"""LinDiffRec's trainer: one epoch, in which the model is solved."""

from typing import Any

from recbole_diffusion.training.trainer import DiffusionTrainer


class LinDiffRecTrainer(DiffusionTrainer):
    """Solves the model at the start of its one epoch, whatever ``epochs`` says."""

    def __init__(self, config: Any, model: Any) -> None:
        super().__init__(config, model)
        self.epochs = self.eval_step = 1

    def on_epoch_start(self, epoch: int) -> None:
        """Make the matrix of scores."""
        self.model.solve()

"""The trainer of models that are solved: one epoch, in which that is done."""

from typing import Any

from recbole_diffusion.training.trainer import DiffusionTrainer


class SolvedTrainer(DiffusionTrainer):
    """Calls the model's ``solve`` at the start of its one epoch, whatever ``epochs`` says."""

    def __init__(self, config: Any, model: Any) -> None:
        super().__init__(config, model)
        self.epochs = self.eval_step = 1

    def on_epoch_start(self, epoch: int) -> None:
        """Make what scores."""
        self.model.solve()

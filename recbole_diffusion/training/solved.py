"""The trainer of models that are solved: one epoch, in which that is done."""

from typing import Any

from recbole_diffusion.training.trainer import DiffusionTrainer


class SolvedTrainer(DiffusionTrainer):
    """Calls the model's ``solve`` at the start of its one epoch, whatever ``epochs`` says."""

    def __init__(self, config: Any, model: Any) -> None:
        super().__init__(config, model)
        self.epochs = self.eval_step = 1

    def _build_optimizer(self, **kwargs: Any) -> None:
        """None: nothing has a gradient, and PyTorch's would import its compiler for a second."""

    def _train_shared(self, batches: Any, epoch: int, loss_func: Any) -> float:
        """The loss, of no batches."""
        return 0.0

    def on_epoch_start(self, epoch: int) -> None:
        """Make what scores."""
        self.model.solve()

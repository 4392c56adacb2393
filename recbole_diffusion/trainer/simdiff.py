"""SimDiff's trainer: what its figures show, logged at each validation."""

from typing import Any

import torch

from recbole_diffusion.model.simdiff import log_snr, relative_change
from recbole_diffusion.trainer.channels import ChannelTrainer


class SimDiffTrainer(ChannelTrainer):
    """Logs how generation goes on: Eq. 1 (Figure 3) and Eq. 22 of the paper (Figure 5)."""

    _before: torch.Tensor | None = None

    def resume(self, train_data: Any) -> None:
        """As every run's; the embeddings generated last are made again, to compare with."""
        super().resume(train_data)
        if self.model.use_diffusion and self.epochs_trained:
            self._before = self.model.eval().generate()

    def _valid_epoch(
        self, valid_data: Any, show_progress: bool = False
    ) -> tuple[float, dict[str, float]]:
        result = super()._valid_epoch(valid_data, show_progress)
        if self.model.use_diffusion:
            self._log_generation()
        return result

    def _log_generation(self) -> None:
        epoch, latent = self.epochs_trained - 1, self.model.latent_variable()[0]
        figures = {"log_snr": log_snr(latent[1:])}  # row 0 is the padding
        if self._before is not None:
            figures["change"] = relative_change(self.model.generated[1:], self._before[1:])
        self._before = self.model.generated
        for name, value in figures.items():
            self.tensorboard.add_scalar(f"Generation/{name}", value, epoch)
        self._log("generation: " + ", ".join(f"{k} {v:.4f}" for k, v in figures.items()))

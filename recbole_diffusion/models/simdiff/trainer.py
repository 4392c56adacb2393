"""SimDiff's trainer: what its figures show, logged at each validation."""

from typing import Any

import torch

from recbole_diffusion.base.randomness import own_randomness
from recbole_diffusion.models.simdiff.model import log_snr
from recbole_diffusion.nn.diagnostics import relative_change
from recbole_diffusion.training.channels import ChannelTrainer


class SimDiffTrainer(ChannelTrainer):
    """Logs how generation goes on: Eq. 1 (Figure 3) and Eq. 22 of the paper (Figure 5)."""

    progress = (*ChannelTrainer.progress, "_generated_before")
    # Item embeddings [n_items, d] of the validation before, on the CPU.
    _generated_before: torch.Tensor | None = None

    def _valid_epoch(
        self, valid_data: Any, show_progress: bool = False
    ) -> tuple[float, dict[str, float]]:
        result = super()._valid_epoch(valid_data, show_progress)
        if self.model.use_diffusion:
            self._log_generation()
        return result

    def _log_generation(self) -> None:
        with own_randomness(self.config["seed"], self.device):
            latent, _ = self.model.latent_variable(is_noisy=True)
            noised = self.model.noised_embeddings()
        # Row 0 is the padding.
        figures = {"log_snr": log_snr(latent[1:]), "log_snr_gaussian": log_snr(noised[1:])}
        generated = self.model.generated.cpu()
        if self._generated_before is not None:
            figures["change"] = relative_change(generated[1:], self._generated_before[1:])
        self._generated_before = generated
        self.diagnose({name: value.item() for name, value in figures.items()})
        for name, value in figures.items():
            self.tensorboard.add_scalar(f"Generation/{name}", value, self.epochs_trained - 1)
        self._log("generation: " + ", ".join(f"{k} {v:.4f}" for k, v in figures.items()))

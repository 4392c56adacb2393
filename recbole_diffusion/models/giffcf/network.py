"""The two stages of GiffCF's denoiser."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_diffusion.nn.layers import StepEmbedding, unit_rows


class Mixer(nn.Module):
    """One small network that makes each entry of a signal from the same entry of several.

    Args:
        n_signals: Number of the signals.
        hidden_size: Hidden units.
        step_embedding_size: Width e of what tells the step.
    """

    def __init__(self, n_signals: int, hidden_size: int, step_embedding_size: int) -> None:
        super().__init__()
        self.of_signals = nn.Linear(n_signals, hidden_size)
        self.of_step = nn.Linear(step_embedding_size, hidden_size, bias=False)
        self.output = nn.Linear(hidden_size, 1)

    def forward(self, signals: list[Tensor], step: Tensor) -> Tensor:
        """A signal [B, n] from signals [B, n] and the embeddings [B or 1, e] of their steps."""
        hidden = self.of_signals(torch.stack(signals, dim=2))
        hidden = functional.silu(hidden + self.of_step(step).unsqueeze(1))
        mixed: Tensor = self.output(hidden).squeeze(2)
        return mixed


class TwoStageDenoiser(nn.Module):
    """Predicts rows from smoothed rows and histories: first among latent factors, then by item.

    Args:
        n_items: n.
        size: Width d of the items' embeddings.
        steps: T.
        mixer_size: Hidden units of each stage's mixer.
        step_embedding_size: Width of the steps' embeddings.
        smoothed_history: Whether the second stage sees the history after the graph.
    """

    def __init__(
        self,
        n_items: int,
        size: int,
        steps: int,
        mixer_size: int,
        step_embedding_size: int,
        smoothed_history: bool,
    ) -> None:
        super().__init__()
        self.items = nn.Embedding(n_items, size)
        nn.init.xavier_normal_(self.items.weight)
        self.step_embedding = StepEmbedding(steps, step_embedding_size)
        self.latent_mixer = Mixer(2, mixer_size, step_embedding_size)
        self.item_mixer = Mixer(3 if smoothed_history else 2, mixer_size, step_embedding_size)

    def forward(
        self, z_t: Tensor, history: Tensor, smoothed_history: Tensor | None, steps: Tensor
    ) -> Tensor:
        """Predicted rows.

        Args:
            z_t: Smoothed rows [B, n] at their steps.
            history: What is known of the rows [B, n].
            smoothed_history: The same after the graph [B, n], if the second stage sees it.
            steps: 1 to T, int64 [B], or [1] for all.

        Returns:
            [B, n].
        """
        step = self.step_embedding()[steps - 1]
        latent = [unit_rows(signal) @ self.items.weight for signal in (z_t, history)]
        middle = self.latent_mixer(latent, step) @ self.items.weight.T
        signals = [middle, history]
        if smoothed_history is not None:
            signals.append(smoothed_history)
        predicted: Tensor = self.item_mixer(signals, step)
        return predicted

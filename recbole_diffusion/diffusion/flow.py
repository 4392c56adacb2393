"""Flow matching between rows of zeros and ones: from independent draws to a user's row.

It has no weights and knows nothing of users. Time runs from 0, where an entry is drawn by its own
frequency, to 1, where it is the data's.

Source: Liu et al. 2025 (FlowCF), section 4; Gat et al. 2024 (mixture paths of discrete flows).
"""

import torch
from torch import Tensor, nn


class BinaryFlow(nn.Module):
    """The path on which each entry is the row's with probability t, else the prior's.

    Args:
        prior: Probability of a one at time 0, of each entry, float32 [n], in [0, 1].

    Raises:
        ValueError: A prior that is none.
    """

    prior: Tensor

    def __init__(self, prior: Tensor) -> None:
        super().__init__()
        if prior.ndim != 1 or not bool(((prior >= 0) & (prior <= 1)).all()):
            raise ValueError("`prior`: expected probabilities [n] in [0, 1]")
        self.register_buffer("prior", prior, persistent=False)

    def probability(self, x_end: Tensor, time: Tensor) -> Tensor:
        """Probability of a one on the path to a row.

        Args:
            x_end: Rows at time 1 [B, n].
            time: t of each row [B], in [0, 1].

        Returns:
            t x_1 + (1 - t) prior, [B, n].
        """
        time = time.unsqueeze(1)
        return torch.lerp(self.prior.expand_as(x_end), x_end, time)

    def q_sample(self, x_end: Tensor, time: Tensor, noise: Tensor) -> Tensor:
        """Draw rows on the path.

        Args:
            x_end: Rows of 0 and 1 at time 1 [B, n].
            time: t of each row [B], in [0, 1].
            noise: Uniform in [0, 1) [B, n].

        Returns:
            Rows of 0 and 1 [B, n].
        """
        return (noise < self.probability(x_end, time)).to(x_end.dtype)

    @staticmethod
    def velocity(x_end: Tensor, x_t: Tensor, time: float) -> Tensor:
        """Change of the probabilities [B, n] towards a predicted end, at a time below 1."""
        return (x_end - x_t) / (1 - time)

    def step(self, x_end: Tensor, x_t: Tensor, time: float, later: float) -> Tensor:
        """Probabilities of ones a step later.

        Args:
            x_end: Predicted rows at time 1 [B, n].
            x_t: Rows [B, n] at ``time``.
            time: t, in [0, 1).
            later: When, in [t, 1]; 1 gives ``x_end``.

        Returns:
            [B, n], within [0, 1] where ``x_end`` and ``x_t`` are.
        """
        return x_t + (later - time) * self.velocity(x_end, x_t, time)

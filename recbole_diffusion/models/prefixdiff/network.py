"""Step 3: logits over items from a denoiser and the closed form."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_diffusion.models.prefixdiff.prefixes import Prefixes


class Network(nn.Module):
    """A denoiser, and logits over items from its output; step 3.

    Args:
        denoiser: Gives [P, width], and ``outputs`` [n_items, width], which makes logits of it.
        n_items: Number of internal ids.
    """

    gain: Tensor

    def __init__(self, denoiser: Any, n_items: int) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.bias = nn.Parameter(torch.zeros(n_items))
        self.register_buffer("gain", torch.zeros(()))

    def forward(
        self, prefixes: Prefixes, skip: Tensor | None, items: Tensor | None = None
    ) -> Tensor:
        """Logits [P, n] of all items, or of some [n]; ``skip`` [P, n] is added by its gain."""
        chosen = slice(None) if items is None else items
        outputs = self.denoiser.outputs[chosen]
        logits = functional.linear(self.denoiser(prefixes), outputs, self.bias[chosen])
        return logits if skip is None else torch.add(logits, skip * self.gain)

"""LD4MRec's denoiser: collaborative and preference conditions on a step (Eqs. 13 to 22)."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from recbole.model.init import xavier_normal_initialization
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "leaky_relu": functional.leaky_relu,
}


class Conditions(NamedTuple):
    """What the network is told of the users of a batch.

    Attributes:
        step: Embedding of the forward steps that their rows have undergone [B, d_forward].
        collaborative: [B, 2 * svd_rank]; None without collaboration.
        preferences: Of each modality [B, width].
    """

    step: Tensor
    collaborative: Tensor | None
    preferences: Sequence[Tensor]


class ConditionalNetwork(nn.Module):
    """C-Net: FC, CG block, a PG block for each modality with LeakyReLU between, CG block, FC.

    Args:
        n_items: Width of a row.
        hidden_size: d.
        step_size: Width of the step embedding, d_forward.
        collaborative_size: Width of the collaborative signal; None for blocks without.
        preference_sizes: Width of the preference signal of each modality.
        preference_hidden_size: Hidden width of the MLPs in PG blocks.
        activation: A name of ``ACTIVATIONS``.

    Source: Section 5, Figure 2.
    """

    def __init__(
        self,
        n_items: int,
        hidden_size: int,
        step_size: int,
        collaborative_size: int | None,
        preference_sizes: Mapping[str, int],
        preference_hidden_size: int,
        activation: str,
    ) -> None:
        super().__init__()
        block = hidden_size, step_size, collaborative_size, activation
        # Not transposed as nn.Linear keeps it: sparse rows pick rows of it.
        self.input_weight = nn.Parameter(torch.empty(n_items, hidden_size))
        self.input_bias = nn.Parameter(torch.zeros(hidden_size))
        self.first_block = CollaborativeBlock(*block)
        self.preference_blocks = nn.ModuleDict(
            {
                name: PreferenceBlock(width, preference_hidden_size, hidden_size)
                for name, width in preference_sizes.items()
            }
        )
        self.last_block = CollaborativeBlock(*block)
        self.output_layer = nn.Linear(hidden_size, n_items)
        nn.init.xavier_normal_(self.input_weight)
        self.apply(_initialize)

    def forward(self, x_t: Tensor, conditions: Conditions) -> Tensor:
        """Predicted rows [B, n_items] from noisy ones [B, n_items]."""
        return self.from_projected(x_t @ self.input_weight, conditions)

    def from_projected(self, projected: Tensor, conditions: Conditions) -> Tensor:
        """Predicted rows [B, n_items] from the product of rows and ``input_weight`` [B, d]."""
        step, collaborative, preferences = conditions
        hidden = self.first_block(projected + self.input_bias, step, collaborative)
        blocks = self.preference_blocks.values()
        for place, (block, preference) in enumerate(zip(blocks, preferences, strict=True)):
            hidden = block(functional.leaky_relu(hidden) if place else hidden, preference)
        output: Tensor = self.output_layer(self.last_block(hidden, step, collaborative))
        return output


class CollaborativeBlock(nn.Module):
    """CG block: the step's gate mixes the user's own representation and the collaborative signal.

    Args:
        size: d.
        step_size: Width of the step embedding.
        collaborative_size: Width of the collaborative signal; None leaves Eq. 18 alone.
        activation: A name of ``ACTIVATIONS``.

    Source: Eq. 18-20.
    """

    def __init__(
        self, size: int, step_size: int, collaborative_size: int | None, activation: str
    ) -> None:
        super().__init__()
        self.activation = activation
        self.own_layer = nn.Linear(size + step_size, size)
        if collaborative_size is not None:
            self.collaborative_layer = nn.Linear(collaborative_size, size)
            self.gate_layer = nn.Linear(step_size, size)

    def forward(self, hidden: Tensor, step: Tensor, collaborative: Tensor | None) -> Tensor:
        """Representations [B, d] of representations [B, d], step embeddings and signals."""
        activate = ACTIVATIONS[self.activation]
        output = activate(self.own_layer(torch.cat([hidden, step], dim=1)))  # Eq. 18
        if collaborative is None:
            return output
        common = activate(self.collaborative_layer(collaborative))  # Eq. 19
        return torch.lerp(output, common, torch.sigmoid(self.gate_layer(step)))  # Eq. 20


class PreferenceBlock(nn.Module):
    """PG block: scale and shift of each channel, from the user's preference signal.

    Args:
        width: Of the signal.
        hidden_size: Of the MLPs.
        size: d.

    Source: Eq. 21-22.
    """

    def __init__(self, width: int, hidden_size: int, size: int) -> None:
        super().__init__()
        self.scale, self.shift = (_mlp(width, hidden_size, size) for _ in range(2))

    def start_at_identity(self) -> None:
        """Make the block give what it is given, whatever the signal."""
        for mlp, value in ((self.scale, 1.0), (self.shift, 0.0)):
            weight, bias = list(mlp.parameters())[-2:]
            nn.init.zeros_(weight)
            nn.init.constant_(bias, value)

    def forward(self, hidden: Tensor, preference: Tensor) -> Tensor:
        """Representations [B, d] of representations [B, d] and signals [B, width]."""
        output: Tensor = torch.addcmul(self.shift(preference), self.scale(preference), hidden)
        return output


def _initialize(module: nn.Module) -> None:
    """Of a network, which ``apply`` visits from the innermost parts outwards."""
    xavier_normal_initialization(module)
    if isinstance(module, PreferenceBlock):
        module.start_at_identity()


def _mlp(width: int, hidden: int, size: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.LeakyReLU(), nn.Linear(hidden, size))

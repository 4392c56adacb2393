"""CF-Diff: diffusion of rows, denoised with an eye on users and items some hops away.

Source: Hou, Park and Shin 2024, Collaborative Filtering Based on Diffusion Models: Unveiling the
Potential of High-Order Connectivity, SIGIR, https://arxiv.org/abs/2404.14240. Departures, and what
could not be read in the paper, stand in ``docs/models/cfdiff.md``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from recbole_diffusion.base.errors import expect
from recbole_diffusion.diffusion import GaussianDiffusion
from recbole_diffusion.models.base import HistoryRecommender, MeanOverUsers, state_of_weights
from recbole_diffusion.models.cfdiff.network import CrossAttentionAutoencoder
from recbole_diffusion.models.cfdiff.settings import CFDiffSettings
from recbole_diffusion.models.channels import schedule_of
from recbole_diffusion.nn.graph import BipartiteGraph
from recbole_diffusion.nn.rows import InteractionRows, RowBatch, interaction_matrix
from recbole_diffusion.training.carry import ITEMS, USERS, WHOLE, Axes


class CFDiff(MeanOverUsers, HistoryRecommender):
    """Predicts a row from its noisy self and from those who share its items."""

    is_baseline = True
    id_axes: Mapping[str, Axes] = {
        "network.encoder.weight": (WHOLE, ITEMS),
        "network.hop_encoders.2.weight": (USERS,),
        "network.hop_encoders.3.weight": (ITEMS,),
        "network.decoder.*": (ITEMS,),
    }
    degrees: Tensor

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.keys = keys = CFDiffSettings(config)
        users, items = (ids.astype(np.int64) for ids in interaction_matrix(dataset).nonzero())
        self.rows = InteractionRows(users, items, self.n_users)
        ends = torch.from_numpy(users), torch.from_numpy(items)
        ones = torch.ones(len(users))
        n_nodes = self.n_users + self.n_items
        self.graph = BipartiteGraph(ends[0], ends[1] + self.n_users, ones, n_nodes)
        degrees = ends[1].bincount(minlength=self.n_items).float()
        self.register_buffer("degrees", degrees, persistent=False)
        self.diffusion = GaussianDiffusion(schedule_of(config, "CFDiff"))
        self.network = CrossAttentionAutoencoder(
            self.n_users,
            self.n_items,
            keys.hops,
            keys.steps,
            keys.latent_size,
            keys.token_size,
            keys.n_layers,
            keys.dropout,
        )
        self._kept: tuple[list[Any], list[Tensor]] | None = None

    @staticmethod
    def check_config(config: Mapping[str, Any]) -> None:
        """Refuse steps that there are not, and a hop twice."""
        steps, n_taken, hops = config["steps"], config["sampling_steps"], config["hops"]
        expect(n_taken <= steps, "sampling_steps", n_taken, f"1..{steps} (`steps`)")
        expect(len(set(hops)) == len(hops), "hops", hops, "each once")

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Mean square error of the predicted rows, of the users that have interactions."""
        users = self.rows.non_empty(interaction[self.USER_ID])
        if not len(users):
            return self._no_loss()
        timesteps = torch.randint(self.keys.steps, (len(users),), device=users.device)
        noise = torch.randn(len(users), self.n_items, device=users.device)
        return self.step_losses(self.rows.batch(users), timesteps, noise).mean()

    def step_losses(self, rows: RowBatch, timesteps: Tensor, noise: Tensor) -> Tensor:
        """Mean square error of each row's prediction.

        Args:
            rows: Of B users.
            timesteps: Of each row [B], int64, from 0.
            noise: Of the standard normal distribution [B, n_items].

        Returns:
            [B].
        """
        x = rows.dense(self.n_items)
        x_t = self.diffusion.q_sample(x, timesteps, noise)
        output = self.network(x_t, self.hop_vectors(rows, self._item_matrices()), timesteps)
        return functional.mse_loss(output, x, reduction="none").mean(dim=1)

    def hop_vectors(self, rows: RowBatch, matrices: Sequence[Tensor]) -> list[Tensor]:
        """Encoded neighbourhoods of rows [B, k], one a hop.

        Args:
            rows: Of B users.
            matrices: What the encoders give [n_items, k].
        """
        n_walks = {2: rows.lengths, 3: rows.product(self.degrees.unsqueeze(1)).squeeze(1)}
        return [
            rows.product(matrix) / n_walks[hop].clamp_min(1).unsqueeze(1)
            for hop, matrix in zip(self.keys.hops, matrices, strict=True)
        ]

    def _item_matrices(self) -> list[Tensor]:
        return [encoder(self.graph) for encoder in self.network.hop_encoders.values()]

    def _scores(self, rows: RowBatch) -> Tensor:
        """The row after T' reverse steps from itself, without further noise."""
        vectors = self.hop_vectors(rows, self._present_matrices())

        def denoise(x_t: Tensor, timesteps: Tensor) -> Tensor:
            output: Tensor = self.network(x_t, vectors, timesteps)
            return output

        x = rows.dense(self.n_items)
        n_taken = self.keys.sampling_steps
        return self.diffusion.p_sample_loop(denoise, x, "x0", num_steps=n_taken)

    @torch.no_grad()
    def _present_matrices(self) -> list[Tensor]:
        """Those of the weights as they are, made anew when they have changed."""
        state = state_of_weights(self.network.hop_encoders)
        if self._kept is None or self._kept[0] != state:
            self._kept = state, self._item_matrices()
        return self._kept[1]

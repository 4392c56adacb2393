"""GiffCF: a row is smoothed by the graph of items, and sharpened step by step.

Source: Zhu et al. 2024, Graph Signal Diffusion Model for Collaborative Filtering, SIGIR,
https://arxiv.org/abs/2311.08744. Departures stand in ``docs/models/giffcf.md``.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from recbole_diffusion.diffusion.heat import HeatDiffusion
from recbole_diffusion.models.base import HistoryRecommender, MeanOverUsers
from recbole_diffusion.models.giffcf.network import TwoStageDenoiser
from recbole_diffusion.models.giffcf.settings import GiffCFSettings
from recbole_diffusion.models.item_smoothing import ItemSmoothing, normalized_entries
from recbole_diffusion.nn.factors import item_factors
from recbole_diffusion.nn.layers import RowDropout
from recbole_diffusion.nn.rows import InteractionRows, RowBatch, interaction_matrix
from recbole_diffusion.training.carry import ITEMS, Axes


class GiffCF(MeanOverUsers, HistoryRecommender):
    """Predicts a row from its smoothed self and from the part of it that is known."""

    is_baseline = True
    id_axes: Mapping[str, Axes] = {"network.items.weight": (ITEMS,)}
    vectors: Tensor

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.keys = keys = GiffCFSettings(config)
        users, items = (dataset.inter_feat[f].numpy() for f in (self.USER_ID, self.ITEM_ID))
        self.rows = InteractionRows(users, items, self.n_users)
        interactions = interaction_matrix(dataset)
        self.graph = ItemSmoothing(interactions)
        vectors = torch.zeros(self.n_items, 0)
        if keys.ideal_weight:
            entries = normalized_entries(interactions, 0.5)
            vectors = torch.from_numpy(item_factors(entries, keys.svd_rank, config["seed"]).vectors)
        self.register_buffer("vectors", vectors, persistent=False)
        self.diffusion = HeatDiffusion(
            keys.steps, keys.smoothing, keys.noise_scale, keys.noise_decay
        )
        self.hide = RowDropout(keys.dropout)
        self.network = TwoStageDenoiser(
            self.n_items,
            keys.embedding_size,
            keys.steps,
            keys.mixer_size,
            keys.step_embedding_size,
            keys.smoothed_history,
        )

    def smoothed(self, x: Tensor) -> Tensor:
        """X (P + omega V V') / (1 + omega) of rows [B, n_items]."""
        weight = self.keys.ideal_weight
        of_graph: Tensor = self.graph(x)
        if not weight:
            return of_graph
        ideal = functional.linear(x @ self.vectors, self.vectors)
        return (of_graph + weight * ideal) / (1 + weight)

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Mean square error of the predicted rows, of the users that have interactions."""
        users = self.rows.non_empty(interaction[self.USER_ID])
        if not len(users):
            return self._no_loss()
        x = self.rows.batch(users).dense(self.n_items)
        steps = torch.randint(1, self.keys.steps + 1, (len(users),), device=x.device)
        return self.step_losses(x, steps, torch.randn_like(x), self.hide(x.clone())).mean()

    def step_losses(self, x: Tensor, steps: Tensor, noise: Tensor, history: Tensor) -> Tensor:
        """Mean square error of each row's prediction.

        Args:
            x: Rows [B, n_items].
            steps: Of each row, 1 to T, int64 [B].
            noise: Of the standard normal distribution [B, n_items].
            history: What the network knows of the rows [B, n_items].

        Returns:
            [B].
        """
        z_t = self.diffusion.q_sample(x, self.smoothed(x), steps, noise)
        seen = self.smoothed(history) if self.keys.smoothed_history else None
        output = self.network(z_t, history, seen, steps)
        return functional.mse_loss(output, x, reduction="none").mean(dim=1)

    def _scores(self, rows: RowBatch) -> Tensor:
        """The row after T reverse steps from the smoothed history."""
        history = rows.dense(self.n_items)
        smoothed = self.smoothed(history)
        seen = smoothed if self.keys.smoothed_history else None
        z_t = self.diffusion.mean(history, smoothed, self._at(self.keys.steps))
        for step in range(self.keys.steps, 0, -1):
            x = self.network(z_t, history, seen, self._at(step))
            z_t = self.diffusion.reverse(x, self.smoothed(x), z_t, step)
        return z_t

    def _at(self, step: int) -> Tensor:
        return torch.full((1,), step, device=self.vectors.device)

"""FlowCF: a network that tells where a row of zeros and ones is flowing to.

Source: Liu et al. 2025, Flow Matching for Collaborative Filtering, KDD,
https://doi.org/10.1145/3711896.3736817. Departures stand in ``docs/models/flowcf.md``.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from recbole_diffusion.base.errors import expect
from recbole_diffusion.diffusion.flow import BinaryFlow
from recbole_diffusion.models.base import HistoryRecommender, MeanOverUsers
from recbole_diffusion.models.diffrec.model import check_sizes
from recbole_diffusion.models.flowcf.settings import FlowCFSettings
from recbole_diffusion.nn.layers import MirroredMLP
from recbole_diffusion.nn.rows import DenseRows, InteractionRows, RowBatch
from recbole_diffusion.training.carry import ITEMS, WHOLE, Axes


class FlowCF(MeanOverUsers, HistoryRecommender):
    """Predicts the end of a flow from popularity to a user's row, from anywhere on its way."""

    is_baseline = True
    id_axes: Mapping[str, Axes] = {
        "network.first_layer.weight": (WHOLE, ITEMS),
        "network.last_layer.*": (ITEMS,),
    }

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.keys = keys = FlowCFSettings(config)
        users, items = (dataset.inter_feat[f].numpy() for f in (self.USER_ID, self.ITEM_ID))
        self.rows = InteractionRows(users, items, self.n_users)
        self.flow = BinaryFlow(self._prior())
        self.network = MirroredMLP(
            self.n_items, keys.hidden_sizes, keys.step_embedding_size, keys.dropout
        )

    @staticmethod
    def check_config(config: Mapping[str, Any]) -> None:
        """Refuse steps that there are not, and no layer."""
        steps, n_taken = config["flow_steps"], config["sampling_steps"]
        expect(n_taken <= steps, "sampling_steps", n_taken, f"1..{steps} (`flow_steps`)")
        check_sizes("hidden_sizes", config["hidden_sizes"])

    def _prior(self) -> Tensor:
        """Each item's share of the users [n_items]."""
        counts = self.rows.items.bincount(minlength=self.n_items).float()
        return counts / (self.n_users - 1) * (self.keys.prior == "popularity")

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Mean square error of the predicted rows, of the users that have interactions."""
        users = self.rows.non_empty(interaction[self.USER_ID])
        if not len(users):
            return self._no_loss()
        x_end = self.rows.batch(users).dense(self.n_items)
        steps = torch.randint(self.keys.flow_steps, (len(users),), device=x_end.device)
        return self.step_losses(x_end, steps, torch.rand_like(x_end)).mean()

    def step_losses(self, x_end: Tensor, steps: Tensor, noise: Tensor) -> Tensor:
        """Mean square error of each row's prediction.

        Args:
            x_end: Rows [B, n_items].
            steps: Of the flow, of each row [B], int64, from 0; its time is step / N.
            noise: Uniform in [0, 1) [B, n_items].

        Returns:
            [B].
        """
        x_t = self.flow.q_sample(x_end, steps / self.keys.flow_steps, noise)
        output = self.network(x_t, steps)
        return functional.mse_loss(output, x_end, reduction="none").mean(dim=1)

    def _scores(self, rows: RowBatch | DenseRows) -> Tensor:
        """The last of ``sampling_steps`` predictions, the first from the rows as they are."""
        n_steps, n_taken = self.keys.flow_steps, self.keys.sampling_steps
        first = n_steps - n_taken
        hidden = self.network.hidden(rows.product(self.network.input_weight.T), self._at(first))
        x_end: Tensor = self.network.last_layer(hidden)
        if n_taken == 1:
            return x_end
        history = rows.dense(self.n_items)
        x_t = history
        for step in range(first + 1, n_steps):
            x_t = self._between(x_end, x_t, history, step)
            x_end = self.network(x_t, self._at(step))
        return x_end

    def _between(self, x_end: Tensor, x_t: Tensor, history: Tensor, step: int) -> Tensor:
        """The rows [B, n_items] at a step, from those of the step before."""
        n_steps = self.keys.flow_steps
        x_t = self.flow.step(x_end.clamp(0, 1), x_t, (step - 1) / n_steps, step / n_steps)
        if self.keys.sampling == "draw":
            x_t = (torch.rand_like(x_t) < x_t).to(x_t.dtype)
        return torch.maximum(x_t, history) if self.keys.keep_history else x_t

    def _at(self, step: int) -> Tensor:
        return torch.full((1,), step, device=self.flow.prior.device)

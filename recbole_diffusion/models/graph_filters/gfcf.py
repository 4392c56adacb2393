"""GF-CF: a linear and an ideal low-pass filter on the graph of items.

Source: Shen et al. 2021, How Powerful is Graph Convolution for Recommendation? (CIKM).
"""

from typing import Any

import torch
from recbole.utils import ModelType
from torch import Tensor, nn

from recbole_diffusion.models.base import HistoryRecommender
from recbole_diffusion.models.graph_filters.settings import GFCFSettings, LowPass
from recbole_diffusion.models.item_smoothing import IdealLowPass, ItemSmoothing
from recbole_diffusion.nn.rows import InteractionRows, RowBatch, interaction_matrix


class GraphFilter(HistoryRecommender):
    """A row of ones is filtered; a subclass says how, by ``filtered``."""

    type = ModelType.TRADITIONAL
    is_baseline = True

    def __init__(self, config: Any, dataset: Any, keys: LowPass) -> None:
        super().__init__(config, dataset)
        self.rank, self.ideal_weight, self.seed = keys.svd_rank, keys.ideal_weight, config["seed"]
        self._interactions = interaction_matrix(dataset)
        users, items = (dataset.inter_feat[f].numpy() for f in (self.USER_ID, self.ITEM_ID))
        self.rows = InteractionRows(users, items, self.n_users)
        self.smooth = ItemSmoothing(self._interactions)
        self.ideal = IdealLowPass(self.n_items)
        self.unused = nn.Parameter(torch.zeros(1))  # RecBole's optimiser wants one

    def solve(self) -> None:
        """Find the vectors of the ideal low-pass filter; the trainer calls it once."""
        if self.ideal_weight:
            self.ideal.solve(self._interactions, self.rank, self.seed)

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Zero: nothing is trained by gradients."""
        return self._no_loss()

    def filtered(self, rows: Tensor) -> Tensor:
        """Scores of rows [B, n_items]."""
        raise TypeError(f"{type(self).__name__} does not define filtered")

    def _scores(self, rows: RowBatch) -> Tensor:
        return self.filtered(rows.dense(self.n_items))


class GFCF(GraphFilter):
    """Scores are r (R~' R~ + alpha D_I^-1/2 V V' D_I^1/2)."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset, GFCFSettings(config))

    def filtered(self, rows: Tensor) -> Tensor:
        """Shen et al. 2021, Eq. 14."""
        scores: Tensor = self.smooth(rows)
        return scores + self.ideal_weight * self.ideal(rows) if self.ideal_weight else scores

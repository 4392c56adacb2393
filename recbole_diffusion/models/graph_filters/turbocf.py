"""Turbo-CF: polynomial low-pass filters on a graph of items with sharpened entries.

Source: Park et al. 2024, Turbo-CF: Matrix Decomposition-Free Graph Filtering for Fast
Recommendation (SIGIR).
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_diffusion.base.memory import expect_memory
from recbole_diffusion.models.base import MatrixRecommender
from recbole_diffusion.models.graph_filters.settings import TurboCFSettings
from recbole_diffusion.models.item_smoothing import normalized_entries
from recbole_diffusion.models.lindiffrec.linear import second_moment
from recbole_diffusion.nn.rows import InteractionRows, RowBatch, interaction_matrix


class TurboCF(MatrixRecommender):
    """Scores are r f(P), f a polynomial and P = R~' R~ with each entry to a power."""

    is_baseline = True

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.keys = TurboCFSettings(config)
        self._interactions = interaction_matrix(dataset)
        users, items = (dataset.inter_feat[f].numpy() for f in (self.USER_ID, self.ITEM_ID))
        self.rows = InteractionRows(users, items, self.n_users)

    def solve(self) -> None:
        """Make the matrix; the trainer calls it once.

        Raises:
            UserError: The machine has no memory for it.
        """
        expect_memory(
            4.0 * (self.keys.polynomial + 1) * self.n_items**2, f"Turbo-CF of {self.n_items} items"
        )
        entries = normalized_entries(self._interactions, self.keys.normalization)
        graph = second_moment(entries)
        np.power(graph, self.keys.power, out=graph)
        self.weights = polynomial(torch.from_numpy(graph), self.keys.polynomial).to(self.device)

    def _scores(self, rows: RowBatch) -> Tensor:
        return rows.product(self.weights)


def polynomial(graph: Tensor, degree: int) -> Tensor:
    """The filter of a degree of a graph of items P [n, n].

    Source: Park et al. 2024, section 4.2.
    """
    if degree == 1:
        return graph
    square = graph @ graph
    if degree == 2:
        return 2 * graph - square
    return graph + 0.01 * (-(square @ graph) + 10 * square - 29 * graph)

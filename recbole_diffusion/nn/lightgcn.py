"""RecBole's LightGCN, whose graph is made at once and multiplied row by row."""

from typing import Any

import torch
from recbole.model.general_recommender import LightGCN as HostLightGCN

from recbole_diffusion.nn.graph import BipartiteGraph, NormalizedAdjacency


class LightGCN(NormalizedAdjacency, HostLightGCN):
    """RecBole's products with a sparse tensor, and their gradients, take some ten times as long."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        n_edges = self.norm_adj_matrix._nnz() // 2  # those of the users' rows come first
        sources, targets = self.norm_adj_matrix.indices()[:, :n_edges]
        weights = self.norm_adj_matrix.values()[:n_edges]
        self.graph = BipartiteGraph(sources, targets, weights, self.n_users + self.n_items)

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings of users and of items: the mean over layers 0..n_layers."""
        total = self.graph.summed_layers(self.get_ego_embeddings(), self.n_layers)
        users, items = (total / (self.n_layers + 1)).split([self.n_users, self.n_items])
        return users, items

"""MGCN: features that behaviour purifies, convolved over similar items, and fused by behaviour.

Source: Yu et al. 2023, Multi-View Graph Convolutional Network for Multimedia Recommendation (MM).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_diffusion.models.multimodal.base import MultimodalRecommender, has_similar_items
from recbole_diffusion.models.multimodal.freedom import nearest_items
from recbole_diffusion.models.multimodal.settings import MGCNSettings
from recbole_diffusion.nn.graph import interaction_graph
from recbole_diffusion.nn.layers import unit_rows
from recbole_diffusion.nn.loss import BatchContrast, bpr_of_products, sum_of_squares
from recbole_diffusion.nn.rows import interaction_matrix


class MGCN(MultimodalRecommender):
    """Scores are products of behaviour's embeddings plus what is fused of the modalities."""

    loss_names = ("ranking", "contrast", "regularization")
    scores_cold_items = staticmethod(has_similar_items)

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.keys = keys = MGCNSettings(config)
        size = self.embedding_size
        self.graph = interaction_graph(interaction_matrix(dataset))
        self.similar = nn.ModuleDict(
            {name: SimilarItems(self.features(name), keys.n_neighbors) for name in self.modalities}
        )
        self.contrast = BatchContrast(keys.temperature)
        self.projection = self.projections(size)
        self.purifier = nn.ModuleDict({name: nn.Linear(size, size) for name in self.modalities})
        self.preference = nn.ModuleDict({name: nn.Linear(size, size) for name in self.modalities})
        self.attention = nn.Sequential(
            nn.Linear(size, size), nn.Tanh(), nn.Linear(size, 1, bias=False)
        )

    def _views(self) -> tuple[Tensor, Tensor]:
        """Of behaviour and of features, [n_users + n_items, d] each."""
        behaviour = self.convolved(self.graph, self.keys.n_layers)  # Eq. 5-6
        modal = [self._modal(name) for name in self.modalities]
        scores = torch.cat([self.attention(view) for view in modal], dim=1)
        shares = torch.softmax(scores, dim=1)  # Eq. 11
        shared = torch.zeros_like(behaviour)  # Eq. 12
        for place, view in enumerate(modal):
            shared = shared + shares[:, place : place + 1] * view
        own = torch.zeros_like(behaviour)
        for name, view in zip(self.modalities, modal, strict=True):
            preferred = torch.sigmoid(self.preference[name](behaviour))  # Eq. 14
            own = own + preferred * (view - shared)  # Eq. 13, 15
        return behaviour, shared + own / len(modal)

    def _modal(self, name: str) -> Tensor:
        """A modality's view, users first: purified, and convolved over similar items."""
        projected = self.projection[name](self.features(name))
        gate = torch.sigmoid(self.purifier[name](projected))
        purified = self.item_embedding.weight * gate  # Eq. 1-3
        for _ in range(self.keys.n_item_layers):
            purified = self.similar[name](purified)  # Eq. 7-9
        # Eq. 10: users have the normalised sum of their items, which the graph's one product gives.
        users = self.graph(torch.cat([torch.zeros_like(self.user_embedding.weight), purified]))
        return torch.cat([users[: self.n_users], purified])

    def scoring_embeddings(self) -> tuple[Tensor, Tensor]:
        """Of users and items: both views added (Eq. 16)."""
        behaviour, features = self._views()
        users, items = (behaviour + features).split([self.n_users, self.n_items])
        return users, items

    def calculate_loss(self, batch: Any) -> tuple[Tensor, Tensor, Tensor]:
        """BPR, the contrast of the two views of users and items, and squared lengths."""
        users, positive, negative = self.places(batch)
        behaviour, features = self._views()
        all_users, all_items = (behaviour + features).split([self.n_users, self.n_items])
        ranking = bpr_of_products(all_users[users], all_items, positive, negative)
        contrast = self.contrast(users, features, behaviour)
        contrast = contrast + self.contrast(positive + self.n_users, features, behaviour)
        used = all_users[users], all_items[positive], all_items[negative]
        squares = sum_of_squares(used) / (2 * len(users))
        keys = self.keys
        return ranking, keys.contrastive_weight * contrast, keys.reg_weight * squares


class SimilarItems(nn.Module):
    """A frozen graph of the most similar items, weighed by cosine and normalised by degrees.

    Args:
        features: [n_items, width], row 0 of the padding.
        n_neighbors: k.
    """

    neighbors: Tensor
    weights: Tensor

    def __init__(self, features: Tensor, n_neighbors: int) -> None:
        super().__init__()
        neighbors = nearest_items(features, n_neighbors)
        unit = unit_rows(features)
        rows = unit[1:, None]
        cosines = (rows @ unit[neighbors].mT)[:, 0].clamp_min(0)  # [n_items - 1, k]
        degrees = functional.pad(cosines.sum(dim=1), (1, 0)).clamp_min(1e-12)
        weights = cosines * (degrees[1:, None] * degrees[neighbors]).rsqrt()
        self.register_buffer("neighbors", neighbors, persistent=False)
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Product [n_items, d] with embeddings [n_items, d]; O(n_items * k * d)."""
        rows = functional.embedding_bag(
            self.neighbors, x, mode="sum", per_sample_weights=self.weights
        )
        return functional.pad(rows, (0, 0, 1, 0))

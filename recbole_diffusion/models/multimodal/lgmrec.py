"""LGMRec: local embeddings of two graphs, and global ones of hyperedges that features choose.

Source: Guo et al. 2024, LGMRec: Local and Global Graph Learning for Multimodal Recommendation
(AAAI).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_diffusion.models.multimodal.base import MultimodalRecommender
from recbole_diffusion.models.multimodal.settings import LGMRecSettings
from recbole_diffusion.nn.graph import interaction_graph
from recbole_diffusion.nn.layers import unit_rows
from recbole_diffusion.nn.loss import BatchContrast, bpr_of_products, sum_of_squares
from recbole_diffusion.nn.rows import InteractionRows, interaction_matrix

LEAST = 1e-6  # of a uniform draw, whose logarithms stay finite


class LGMRec(MultimodalRecommender):
    """Scores are products of local embeddings plus a share of global ones."""

    loss_names = ("ranking", "contrast", "regularization")

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.keys = keys = LGMRecSettings(config)
        interactions = interaction_matrix(dataset)
        self.graph = interaction_graph(interactions)
        users, items = interactions.nonzero()
        self.rows = InteractionRows(users, items, self.n_users)
        self.contrast = BatchContrast(keys.temperature)
        self.projection = self.projections(self.embedding_size)
        self.hyperedges = nn.ParameterDict(
            {
                name: nn.init.xavier_uniform_(
                    torch.empty(self.features(name).shape[1], keys.n_hyperedges)
                )
                for name in self.modalities
            }
        )

    def _behaviour(self) -> Tensor:
        """Embeddings of behaviour, users first, [n_users + n_items, d] (Eq. 1-2)."""
        return self.convolved(self.graph, self.keys.n_layers)

    def _modal(self, name: str) -> Tensor:
        """Local embeddings of a modality, users first, [n_users + n_items, d] (Eq. 3-5)."""
        items = self.projection[name](self.features(name))
        counts = self.rows.all.lengths.clamp_min(1).unsqueeze(1)
        nodes = torch.cat([self.rows.all.product(items) / counts, items])
        for _ in range(self.keys.n_modal_layers):
            nodes = self.graph(nodes)
        return nodes

    def _assigned(self, name: str) -> tuple[Tensor, Tensor]:
        """Shares of hyperedges of users [n_users, A] and items [n_items, A] (Eq. 7-8)."""
        of_items = self.features(name) @ self.hyperedges[name]
        return self._shares(self.rows.all.product(of_items)), self._shares(of_items)

    def _shares(self, logits: Tensor) -> Tensor:
        """A softmax, in training of noisy logits; nothing for the padding."""
        if self.training:
            logits = logits + torch.rand_like(logits).logit(LEAST)
        shares = torch.softmax(logits / self.keys.assignment_temperature, dim=1)
        shares = functional.dropout(shares, self.keys.hyper_dropout, self.training)
        return functional.pad(shares[1:], (0, 0, 1, 0))

    def _global(self, name: str, items: Tensor) -> Tensor:
        """Embeddings by way of hyperedges, users first (Eq. 9-10).

        Args:
            name: Of the modality.
            items: Embeddings of behaviour [n_items, d].
        """
        of_users, of_items = self._assigned(name)
        users = items.new_zeros(self.n_users, items.shape[1])
        for _ in range(self.keys.n_hyper_layers):
            edges = of_items.T @ items
            users, items = of_users @ edges, of_items @ edges
        return torch.cat([users, items])

    def _views(self) -> tuple[Tensor, list[Tensor]]:
        """Embeddings that score, and the global ones of each modality (Eq. 6, 11, 13)."""
        behaviour = self._behaviour()
        local = behaviour + torch.stack([unit_rows(self._modal(n)) for n in self.modalities]).sum(0)
        items = behaviour[self.n_users :]
        views = [self._global(name, items) for name in self.modalities]
        return local + self.keys.global_weight * unit_rows(torch.stack(views).sum(0)), views

    def scoring_embeddings(self) -> tuple[Tensor, Tensor]:
        """Of users and items."""
        users, items = self._views()[0].split([self.n_users, self.n_items])
        return users, items

    def calculate_loss(self, batch: Any) -> tuple[Tensor, Tensor, Tensor]:
        """BPR, the contrast of modalities' global embeddings, and squared lengths."""
        users, positive, negative = self.places(batch)
        fused, views = self._views()
        all_users, all_items = fused.split([self.n_users, self.n_items])
        ranking = bpr_of_products(all_users[users], all_items, positive, negative)
        contrast = self.contrast(users, *views)  # Eq. 12
        contrast = contrast + self.contrast(positive + self.n_users, *views)
        used = (
            self.user_embedding(users),
            self.item_embedding(positive),
            self.item_embedding(negative),
        )
        squares = sum_of_squares(used) / len(users)
        keys = self.keys
        return ranking, keys.contrastive_weight * contrast, keys.reg_weight * squares

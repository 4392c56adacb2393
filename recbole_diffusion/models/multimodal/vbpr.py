"""VBPR: matrix factorisation with a second part that features of items are projected into.

Source: He and McAuley 2016, VBPR: Visual Bayesian Personalized Ranking from Implicit Feedback.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from recbole_diffusion.models.multimodal.base import MultimodalRecommender
from recbole_diffusion.models.multimodal.settings import VBPRSettings
from recbole_diffusion.nn.loss import bpr_of_products, sum_of_squares
from recbole_diffusion.training.carry import ITEMS, USERS


class VBPR(MultimodalRecommender):
    """Scores are gamma_u gamma_i + beta_i, and theta_u (E f_i) + beta' f_i of each modality."""

    loss_names = ("ranking", "regularization")
    id_axes = {
        **MultimodalRecommender.id_axes,
        "user_taste.weight": (USERS,),
        "item_bias.weight": (ITEMS,),
    }

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        keys = VBPRSettings(config)
        self.reg_weight = keys.reg_weight
        n_modalities = len(self.modalities)
        self.user_taste = nn.Embedding(self.n_users, keys.modal_size * n_modalities)
        nn.init.xavier_uniform_(self.user_taste.weight)
        self.item_bias = nn.Embedding(self.n_items, 1)
        nn.init.zeros_(self.item_bias.weight)
        widths = [self.features(name).shape[1] for name in self.modalities]
        self.projection = nn.ModuleList(
            nn.Linear(width, keys.modal_size, bias=False) for width in widths
        )
        # beta' of each modality.
        self.feature_bias = nn.ParameterList(torch.zeros(width) for width in widths)

    @staticmethod
    def scores_cold_items(config: Mapping[str, Any]) -> bool:
        """Always, by the second part; gamma_i and beta_i of a cold item stay small."""
        return True

    def scoring_embeddings(self) -> tuple[Tensor, Tensor]:
        """Of users [n_users, D] and items [n_items, D], the items' bias last (Eq. 4)."""
        return self._user_vectors(slice(None)), self._item_vectors(slice(None))

    def _user_vectors(self, users: Any) -> Tensor:
        latent, taste = self.user_embedding.weight[users], self.user_taste.weight[users]
        return torch.cat([latent, taste, latent.new_ones(len(latent), 1)], dim=1)

    def _item_vectors(self, items: Any) -> Tensor:
        bias = self.item_bias.weight[items]
        projected = []
        layers = zip(self.modalities, self.projection, self.feature_bias, strict=True)
        for name, projection, feature_bias in layers:
            features = self.features(name)[items]
            projected.append(projection(features))
            bias = bias + (features @ feature_bias)[:, None]
        return torch.cat([self.item_embedding.weight[items], *projected, bias], dim=1)

    def calculate_loss(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Ranking, and squared lengths of what the batch's scores are made of (Eq. 7)."""
        users, *items = self.places(batch)
        pairs = torch.cat(items)
        rows = torch.arange(len(pairs), device=pairs.device).split(len(users))
        user_vectors, item_vectors = self._user_vectors(users), self._item_vectors(pairs)
        used = (
            self.user_embedding.weight[users],
            self.user_taste.weight[users],
            self.item_embedding.weight[pairs],
            self.item_bias.weight[pairs],
        )
        squares = sum_of_squares(used) / len(users)
        weights = sum_of_squares(self.projection.parameters())
        ranking = bpr_of_products(user_vectors, item_vectors, *rows)
        return ranking, self.reg_weight * (squares + weights)

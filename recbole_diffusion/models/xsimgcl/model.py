"""XSimGCL: ranking and contrast from one pass over the graph, with noise at each layer.

Source: Yu et al. 2023, XSimGCL: Towards Extremely Simple Graph Contrastive Learning for
Recommendation (TKDE).
"""

from collections.abc import Mapping
from typing import Any

import torch
from recbole.utils import InputType
from torch import Tensor, nn
from torch.nn import functional

from recbole_diffusion.models.base import EmbeddingRecommender
from recbole_diffusion.models.xsimgcl.settings import XSimGCLSettings, check_layers
from recbole_diffusion.nn.graph import interaction_graph
from recbole_diffusion.nn.loss import BatchContrast, bpr_of_products, sum_of_squares
from recbole_diffusion.nn.rows import interaction_matrix


class XSimGCL(EmbeddingRecommender):
    """LightGCN without its first layer, and an InfoNCE of layer l* with the mean of all."""

    input_type = InputType.PAIRWISE
    train_loader = "interactions"
    is_baseline = True
    loss_names = ("ranking", "contrast", "regularization")

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.keys = keys = XSimGCLSettings(config)
        self.graph = interaction_graph(interaction_matrix(dataset))
        self.contrast = BatchContrast(keys.temperature)
        self.user_embedding = nn.Embedding(self.n_users, keys.embedding_size)
        self.item_embedding = nn.Embedding(self.n_items, keys.embedding_size)
        for table in (self.user_embedding, self.item_embedding):
            nn.init.xavier_uniform_(table.weight)

    @staticmethod
    def check_config(config: Mapping[str, Any]) -> None:
        """Refuse a contrast with a layer that there is not."""
        check_layers(config)

    def _layers(self, is_noisy: bool) -> tuple[Tensor, Tensor]:
        """The mean of layers 1..L and layer l*, each [n_users + n_items, d] (Eq. 10-11)."""
        layer = torch.cat([self.user_embedding.weight, self.item_embedding.weight])
        total, contrasted = torch.zeros_like(layer), layer
        for number in range(1, self.keys.n_layers + 1):
            layer = self.graph(layer)
            if is_noisy:
                direction = functional.normalize(torch.rand_like(layer), dim=1)
                layer = layer + layer.sign() * direction * self.keys.noise
            total = total + layer
            if number == self.keys.contrast_layer:
                contrasted = layer
        return total / self.keys.n_layers, contrasted

    def scoring_embeddings(self) -> tuple[Tensor, Tensor]:
        """Of users and items, without noise."""
        mean, _ = self._layers(is_noisy=False)
        users, items = mean.split([self.n_users, self.n_items])
        return users, items

    def calculate_loss(self, batch: Any) -> tuple[Tensor, Tensor, Tensor]:
        """BPR, the contrast of users and of items, and squared lengths (Eq. 8-9)."""
        users, positive, negative = (
            batch[name] for name in (self.USER_ID, self.ITEM_ID, self.NEG_ITEM_ID)
        )
        mean, contrasted = self._layers(is_noisy=True)
        all_users, all_items = mean.split([self.n_users, self.n_items])
        ranking = bpr_of_products(all_users[users], all_items, positive, negative)
        contrast = self.contrast(users, mean, contrasted)
        contrast = contrast + self.contrast(positive + self.n_users, mean, contrasted)
        used = (
            self.user_embedding.weight[users],
            self.item_embedding.weight[positive],
            self.item_embedding.weight[negative],
        )
        squares = sum_of_squares(used) / len(users)
        keys = self.keys
        return ranking, keys.contrastive_weight * contrast, keys.reg_weight * squares

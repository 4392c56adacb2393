"""Embeddings beside features of items, which are read once and stand in no checkpoint."""

from collections.abc import Mapping
from typing import Any

import torch
from recbole.utils import InputType
from torch import Tensor, nn

from recbole_diffusion.data.features import load_item_features
from recbole_diffusion.models.base import EmbeddingRecommender
from recbole_diffusion.models.channels import (
    check_digests,
    check_modalities,
    digest_of,
    modality_names,
)
from recbole_diffusion.nn.graph import BipartiteGraph


class MultimodalRecommender(EmbeddingRecommender):
    """User and item embeddings, and the features of each modality.

    Args:
        config: Settings; ``modalities`` and ``embedding_size`` are read here.
        dataset: RecBole's dataset of the train part.

    Attributes:
        modalities: Names under ``item_features``.
    """

    input_type = InputType.PAIRWISE
    train_loader = "interactions"
    is_baseline = True

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.embedding_size = config["embedding_size"]
        self.modalities = modality_names(config, type(self).__name__, at_least_one=True)
        self.user_embedding = nn.Embedding(self.n_users, self.embedding_size)
        self.item_embedding = nn.Embedding(self.n_items, self.embedding_size)
        for table in (self.user_embedding, self.item_embedding):
            nn.init.xavier_uniform_(table.weight)
        for name in self.modalities:
            features = load_item_features(config, dataset, name)
            self.register_buffer(f"digest_{name}", digest_of(features))
            content = torch.from_numpy(features).float()
            self.register_buffer(f"features_{name}", content, persistent=False)

    @staticmethod
    def check_config(config: Mapping[str, Any]) -> None:
        """Refuse modalities that are not declared.

        Raises:
            UserError: One of them, or none at all.
        """
        check_modalities(config, at_least_one=True)

    def features(self, name: str) -> Tensor:
        """Of a modality [n_items, width]; row 0 (padding) is zero."""
        return self.get_buffer(f"features_{name}")

    def projections(self, size: int) -> nn.ModuleDict:
        """A linear layer from each modality's features to a width."""
        widths = {name: self.features(name).shape[1] for name in self.modalities}
        return nn.ModuleDict({name: nn.Linear(width, size) for name, width in widths.items()})

    def convolved(self, graph: BipartiteGraph, n_layers: int) -> Tensor:
        """LightGCN's mean over layers 0..n_layers, users first, [n_users + n_items, d]."""
        start = torch.cat([self.user_embedding.weight, self.item_embedding.weight])
        return graph.summed_layers(start, n_layers) / (n_layers + 1)

    def places(self, batch: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Users, items and items to rank below them of a batch, int64 [B] each."""
        return batch[self.USER_ID], batch[self.ITEM_ID], batch[self.NEG_ITEM_ID]

    def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        """As PyTorch's.

        Raises:
            UserError: Features have changed since the checkpoint was written.
        """
        check_digests(self, state_dict)
        return super().load_state_dict(state_dict, *args, **kwargs)


def has_similar_items(config: Mapping[str, Any]) -> bool:
    """Whether items take the embeddings of those like them, so that cold ones have some.

    Args:
        config: Settings; ``n_item_layers`` and ``n_neighbors`` are read here.
    """
    return bool(config["n_item_layers"] > 0 and config["n_neighbors"] > 1)

"""FREEDOM: a frozen graph of similar items, and a graph of interactions that is pruned each epoch.

Source: Zhou and Shen 2023, A Tale of Two Graphs: Freezing and Denoising Graph Structures for
Multimodal Recommendation (MM).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from recbole_diffusion.base.errors import expect
from recbole_diffusion.models.channels import check_modalities
from recbole_diffusion.models.multimodal.base import MultimodalRecommender, has_similar_items
from recbole_diffusion.models.multimodal.settings import FREEDOMSettings
from recbole_diffusion.nn.graph import BipartiteGraph, interaction_graph, normalized_graph
from recbole_diffusion.nn.layers import unit_rows
from recbole_diffusion.nn.loss import bpr_of_products
from recbole_diffusion.nn.rows import interaction_matrix
from recbole_diffusion.training.trainer import DiffusionTrainer

# Similarities of items that are made at a time.
BLOCK_ENTRIES = 2**24


class FREEDOM(MultimodalRecommender):
    """Item embeddings are convolved over both graphs, those of users over interactions alone."""

    loss_names = ("ranking", "features")
    scores_cold_items = staticmethod(has_similar_items)

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        keys = FREEDOMSettings(config)
        self.n_layers, self.n_item_layers = keys.n_layers, keys.n_item_layers
        self.prune_ratio, self.modal_weight = keys.prune_ratio, keys.modal_weight
        self.graph = interaction_graph(interaction_matrix(dataset))
        self.pruned_graph = self.graph
        shares = modality_shares(config, self.modalities)
        neighbors = {
            name: nearest_items(self.features(name), keys.n_neighbors) for name in self.modalities
        }
        self.item_graph = ItemGraph(neighbors, shares)
        self.projection = self.projections(self.embedding_size)

    @staticmethod
    def check_config(config: Mapping[str, Any]) -> None:
        """Refuse modalities, and weights of them, that do not fit.

        Raises:
            UserError: One of them.
        """
        modality_shares(config, check_modalities(config, at_least_one=True))

    def prune(self) -> None:
        """Draw the interactions that an epoch convolves over (section 3.2).

        An edge stays with a probability in proportion to 1 / sqrt(|N_u| |N_i|).
        """
        if not self.prune_ratio:
            return
        n_kept = max(1, int(len(self.graph.weights) * (1 - self.prune_ratio)))
        # The largest of exponential races are a draw without replacement, of any number of edges.
        times = torch.empty_like(self.graph.weights).exponential_() / self.graph.weights
        kept = times.topk(n_kept, largest=False).indices.sort().values
        users, items = self.graph.sources[kept], self.graph.targets[kept] - self.n_users
        self.pruned_graph = normalized_graph(users, items, self.n_users, self.n_items)

    def _convolved(self, graph: BipartiteGraph) -> tuple[Tensor, Tensor]:
        """Of users [n_users, d] and items [n_items, d] over a graph of interactions (Eq. 9-11)."""
        mean = self.convolved(graph, self.n_layers)
        users, convolved = mean.split([self.n_users, self.n_items])
        items = self.item_embedding.weight
        for _ in range(self.n_item_layers):
            items = self.item_graph(items)
        return users, convolved + items

    def scoring_embeddings(self) -> tuple[Tensor, Tensor]:
        """Over all interactions (section 3.4)."""
        return self._convolved(self.graph)

    def calculate_loss(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Ranking by embeddings, and by each modality's features alone (Eq. 12)."""
        user_ids, positive, negative = self.places(batch)
        all_users, items = self._convolved(self.pruned_graph)
        users = all_users[user_ids]
        of_features = users.new_zeros(())
        both = torch.cat([positive, negative])
        places = torch.arange(len(both), device=both.device).split(len(positive))
        for name in self.modalities if self.modal_weight else ():
            projected = self.projection[name](self.features(name)[both])
            of_features = of_features + bpr_of_products(users, projected, *places)
        ranking = bpr_of_products(users, items, positive, negative)
        return ranking, self.modal_weight * of_features


class FREEDOMTrainer(DiffusionTrainer):
    """Prunes the graph before each epoch."""

    def on_epoch_start(self, epoch: int) -> None:
        """Draw the epoch's interactions."""
        self.model.prune()


class ItemGraph(nn.Module):
    """The frozen graph of items: rows of neighbours of each modality, normalised and mixed.

    Args:
        neighbors: By modality, the neighbours of each item, int64 [n_items - 1, k]; not of the
            padding.
        shares: Of each modality; they sum to 1.
    """

    def __init__(self, neighbors: Mapping[str, Tensor], shares: Mapping[str, float]) -> None:
        super().__init__()
        self.shares = dict(shares)
        for name, rows in neighbors.items():
            self.register_buffer(f"neighbors_{name}", rows, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Product [n_items, d] with embeddings [n_items, d]; O(n_items * k * d).

        Each row of a modality's graph has k entries of 1, so that D^-1/2 S D^-1/2 with the
        degrees of rows is 1 / k times it (Eq. 3-5).
        """
        total = torch.zeros_like(x)
        for name, share in self.shares.items():
            rows = self.get_buffer(f"neighbors_{name}")
            mean = nn.functional.embedding_bag(rows, x, mode="mean")
            total[1:] += share * mean
        return total


@torch.no_grad()
def nearest_items(features: Tensor, n_neighbors: int) -> Tensor:
    """The items of greatest cosine, each item itself among them (Eq. 1-2).

    Args:
        features: [n_items, width], row 0 of the padding.
        n_neighbors: k; at most the number of items.

    Returns:
        Internal ids, int64 [n_items - 1, k].
    """
    unit = unit_rows(features[1:])
    k = min(n_neighbors, len(unit))
    blocks = [
        (block @ unit.T).topk(k, dim=1).indices + 1
        for block in unit.split(max(1, BLOCK_ENTRIES // len(unit)))
    ]
    return torch.cat(blocks)


def modality_shares(config: Mapping[str, Any], names: list[str]) -> dict[str, float]:
    """Share of each modality's graph.

    Raises:
        UserError: Weights of other names, or none above 0.
    """
    weights = config["modality_weights"]
    if weights is None:
        return dict.fromkeys(names, 1 / len(names))
    is_whole = set(weights) == set(names) and all(value >= 0 for value in weights.values())
    is_whole = is_whole and sum(weights.values()) > 0
    expect(is_whole, "modality_weights", weights, f"a weight of 0 or more for each of {names}")
    return {name: weights[name] / sum(weights.values()) for name in names}

"""DiffMM: Multi-Modal Diffusion Model for Recommendation (MM 2024).

Jiang, Xia, Wei, Luo, Lin, Huang, https://arxiv.org/abs/2406.11781. For each modality of the items a
generator (``model.generators``) learns to denoise interaction rows, and makes a user-item graph;
graph convolutions over the interactions and these graphs make the embeddings that score, and a
contrastive loss aligns the modalities' views of users and items. The trainer alternates both.

Departures from the paper and from the authors' code are listed in docs/models/diffmm.md.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from recbole.utils import InputType
from torch import Tensor, nn
from torch.nn import functional

from recbole_diffusion.base.errors import expect
from recbole_diffusion.data.features import load_item_features
from recbole_diffusion.evaluation.ranking import ranked_items
from recbole_diffusion.models.base import EmbeddingRecommender
from recbole_diffusion.models.channels import (
    check_digests,
    check_modalities,
    digest_of,
    modality_names,
)
from recbole_diffusion.models.diffmm.generators import DiffusionGenerator, GraphAutoencoder, Signal
from recbole_diffusion.nn.graph import BipartiteGraph, interaction_graph, normalized_graph
from recbole_diffusion.nn.layers import unit_rows
from recbole_diffusion.nn.loss import bpr_of_products, unit_info_nce
from recbole_diffusion.nn.rows import InteractionRows, interaction_matrix
from recbole_diffusion.training.carry import ITEMS, WHOLE, Matches

# Scores held at a time while graphs are generated, and the least users that they are of.
GENERATED_ENTRIES = 2**23
MIN_GENERATED_ROWS = 64


class DiffMM(EmbeddingRecommender):
    """The model of section 2; keys and their meaning stand in properties/model/DiffMM.yaml.

    Raises:
        UserError: A modality that names no features, none at all, or a key out of its range.
    """

    input_type = InputType.PAIRWISE
    train_loader = "interactions"
    # Terms of the loss in their order, as logs and figures call them.
    loss_names = ("BPR", "L2", "contrast")
    id_axes = {
        **EmbeddingRecommender.id_axes,
        "generators.*.denoiser.first_layer.weight": (WHOLE, ITEMS),
        "generators.*.denoiser.last_layer.*": (ITEMS,),
    }

    @staticmethod
    def check_config(config: Any) -> None:
        """Called before data are read."""
        check_modalities(config, at_least_one=True)

    @staticmethod
    def scores_cold_items(config: Any) -> bool:
        """Whether features reach an item's own embedding, and not its neighbours' alone."""
        return bool(config["self_loops"])

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.n_layers = config["n_layers"]
        self.graph_items = config["graph_items"]
        self.self_loops = config["self_loops"]
        self.edge_keep_rate = config["edge_keep_rate"]
        self.second_hop = config["second_hop"]
        self.normalize_signal = config["normalize_signal"]
        self.modal_graph_weight = config["modal_graph_weight"]
        self.residual_weight = config["residual_weight"]
        self.contrastive_weight = config["contrastive_weight"]
        self.contrastive_anchor = config["contrastive_anchor"]
        self.temperature = config["temperature"]
        self.random_ratio = config["random_ratio"]
        self.random_keep_rate = config["random_keep_rate"]
        self.reg_weight = config["reg_weight"]
        self.reg_scope = config["reg_scope"]
        self.modalities = modality_names(config, "DiffMM", at_least_one=True)
        self._check_settings()
        interactions = interaction_matrix(dataset)
        users, items = (ends.astype(np.int64) for ends in interactions.nonzero())
        self.rows = InteractionRows(users, items, self.n_users)
        self.graph = interaction_graph(interactions, self.self_loops)
        self._build_embeddings(config, dataset)
        self._build_generators(config, interactions)
        self._graphs: dict[str, BipartiteGraph] = {}
        self._random_graph: BipartiteGraph | None = None

    def _check_settings(self) -> None:
        last = self.n_items - 1
        expect(self.graph_items <= last, "graph_items", self.graph_items, f"1..{last}")
        is_paired = len(self.modalities) > 1 or self.contrastive_anchor == "main"
        expected = "main with one modality, or contrastive_weight: 0"
        is_fed = is_paired or self.contrastive_weight == 0
        expect(is_fed, "contrastive_anchor", self.contrastive_anchor, expected)

    def _build_embeddings(self, config: Any, dataset: Any) -> None:
        """Weights of the recommendation task, and the features; checkpoints hold their digests."""
        size, alignment = config["embedding_size"], config["alignment"]
        self.user_embedding = nn.Embedding(self.n_users, size)
        self.item_embedding = nn.Embedding(self.n_items, size)
        for table in (self.user_embedding, self.item_embedding):
            nn.init.xavier_uniform_(table.weight)
        self.alignments = nn.ModuleDict()
        for name in self.modalities:
            features = load_item_features(config, dataset, name)
            self.register_buffer(f"digest_{name}", digest_of(features))
            self.register_buffer(f"features_{name}", torch.from_numpy(features), persistent=False)
            self.alignments[name] = _alignment(alignment, features.shape[1], size)
        self.modality_logits = nn.Parameter(torch.zeros(len(self.modalities)))

    def _build_generators(self, config: Any, interactions: Any) -> None:
        kind = config["generator"]
        with_loops = interaction_graph(interactions, self_loops=True) if kind == "vgae" else None
        self.generators = nn.ModuleDict()
        for name in self.modalities:
            self.generators[name] = (
                DiffusionGenerator(config, self.n_items)
                if with_loops is None
                else GraphAutoencoder(config, with_loops, self.n_users)
            )
            generated = torch.zeros(self.n_users, self.graph_items, dtype=torch.int64)
            self.register_buffer(f"generated_{name}", generated)

    def recommendation_parameters(self) -> Iterator[nn.Parameter]:
        """All that the recommendation step learns; each generator has an optimiser of its own."""
        return (p for name, p in self.named_parameters() if not name.startswith("generators."))

    # Generated graphs

    @torch.no_grad()
    def signal(self, name: str) -> Signal:
        """What a modality's generator is told; constant while generators are trained."""
        users, items = self.user_embedding.weight, self.item_embedding.weight
        features = self.modal_features(name) if self.normalize_signal else self._aligned(name)
        features[0] = 0.0  # of the padding item, which an alignment with a bias gives some
        return Signal(users.detach(), items.detach(), features)

    def generator_losses(self, name: str, users: Tensor, signal: Signal) -> tuple[Tensor, ...]:
        """Weighted terms of a modality's generator for users int64 [B] with interactions."""
        return self._generator(name).losses(users, self.rows.batch(users), signal)

    def _generator(self, name: str) -> DiffusionGenerator | GraphAutoencoder:
        generator = self.generators[name]
        assert isinstance(generator, (DiffusionGenerator, GraphAutoencoder))
        return generator

    @torch.no_grad()
    def rebuild_graphs(self) -> None:
        """Generate each modality's graph anew from its generator, and drop edges of it."""
        for name in self.modalities:
            self.get_buffer(f"generated_{name}").copy_(self.generate(name))
        self._draw_graphs()

    @torch.no_grad()
    def generate(self, name: str) -> Tensor:
        """Items [n_users, k] that a modality's generator ranks first for each user, equals by lot.

        The padding user has the padding item, which nobody else has.

        Source: section 2.2.3.
        """
        scores = self._generator(name).scorer(self.signal(name))
        everyone = torch.arange(1, self.n_users, device=self.rows.items.device)
        size = max(GENERATED_ENTRIES // self.n_items, MIN_GENERATED_ROWS)
        tops = [everyone.new_zeros(1, self.graph_items)]
        for users in everyone.split(size):
            block = scores(users, self.rows.batch(users))
            tops.append(ranked_items(block, self.graph_items)[1])
        return torch.cat(tops)

    @torch.no_grad()
    def adopt(self, saved: Mapping[str, Any], matches: Matches) -> None:
        """Keep the edges that older users had; new ones get theirs (``training.carry``)."""
        is_known, newer = matches.users >= 0, matches.newer_items()
        for name in self.modalities:
            edges, older = self.generate(name), saved["state_dict"].get(f"generated_{name}")
            if older is not None and older.shape[1] == edges.shape[1]:
                edges[is_known] = newer[older[matches.users[is_known]]].to(edges.device)
            self.get_buffer(f"generated_{name}").copy_(edges)
        self._graphs = {}

    def generated_graph(self, name: str) -> BipartiteGraph:
        """A modality's graph as generated, all edges in it; empty before the first epoch."""
        items = self.get_buffer(f"generated_{name}")
        users, places = (items > 0).nonzero(as_tuple=True)
        ends = users, items[users, places]
        return normalized_graph(*ends, self.n_users, self.n_items, self.self_loops)

    def _draw_graphs(self) -> None:
        """What training convolves over until the next call."""
        self._graphs = {
            name: self.generated_graph(name).dropped(self.edge_keep_rate)
            for name in self.modalities
        }
        if self.random_ratio > 0:
            self._random_graph = self.graph.dropped(self.random_keep_rate)

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As PyTorch's; what training convolves over is drawn anew.

        Raises:
            UserError: Features have changed since the checkpoint was written.
        """
        check_digests(self, state_dict)
        self._graphs = {}
        return super().load_state_dict(state_dict, *args, **kwargs)

    # Aggregation

    def modal_features(self, name: str) -> Tensor:
        """Aligned features e_m [n_items, d] of all items (Eq. 15)."""
        return unit_rows(self._aligned(name))

    def _aligned(self, name: str) -> Tensor:
        features = self.get_buffer(f"features_{name}")  # may be kept in half precision
        aligned: Tensor = self.alignments[name](features.to(self.item_embedding.weight.dtype))
        return aligned.float()  # autocast may have lowered it; a padding item has no edge

    def modality_weights(self) -> Tensor:
        """Kappa of Eq. 21 [number of modalities], above 0, with sum 1."""
        return self.modality_logits.softmax(dim=0)

    def aggregate(
        self, features: Mapping[str, Tensor], graphs: Mapping[str, BipartiteGraph]
    ) -> Tensor:
        """Final embeddings of users and items [N, d].

        A product with a graph is linear and the weights add up to 1, so the weighted sum of Eq. 21
        is taken before the products with the interaction graph.

        Args:
            features: Aligned features of each modality [n_items, d].
            graphs: Of each modality.

        Source: Eq. 20-23.
        """
        users, items = self.user_embedding.weight, self.item_embedding.weight
        kappa = dict(zip(self.modalities, self.modality_weights(), strict=True))
        ids = torch.cat([users, items])
        mixed = torch.cat([users, _total(kappa[name] * features[name] for name in kappa)])
        if self.second_hop == "id":
            hops = self.graph(mixed + self.graph(ids))  # Eq. 20
        else:
            first = self.graph(mixed)
            hops = first + self.graph(torch.cat([first[: self.n_users], items]))
        modal = _total(kappa[name] * graphs[name](ids) for name in kappa)
        aggregated = hops + self.modal_graph_weight * modal
        layers = self.graph.summed_layers(aggregated, self.n_layers)  # Eq. 22
        return layers + self.residual_weight * unit_rows(aggregated)  # Eq. 23

    def view(self, name: str, features: Tensor, graph: BipartiteGraph) -> Tensor:
        """A modality's contrastive view of users and items [N, d].

        Args:
            name: Of the modality.
            features: Aligned features [n_items, d].
            graph: Of the modality.

        Source: Eq. 16-17; section 3.6 with ``random_ratio``.
        """
        nodes = torch.cat([self.user_embedding.weight, features])
        start = graph(nodes)
        if self._random_graph is not None and self.random_ratio > 0:
            start = torch.lerp(start, self._random_graph(nodes), self.random_ratio)
        return self.graph.summed_layers(start, self.n_layers)

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, ...]:
        """Weighted terms of Eq. 26 for a batch of (user, positive, negative).

        Returns:
            BPR and regularisation; then, with a weight, the contrast.
        """
        if not self._graphs:
            self._draw_graphs()
        features = {name: self.modal_features(name) for name in self.modalities}
        final = self.aggregate(features, self._graphs)
        user = final.index_select(0, interaction[self.USER_ID])
        drawn = (interaction[name] + self.n_users for name in (self.ITEM_ID, self.NEG_ITEM_ID))
        terms = [
            bpr_of_products(user, final, *drawn),  # Eq. 25
            self.reg_weight * self._regularization(),
        ]
        if self.contrastive_weight > 0:
            views = [self.view(n, features[n], self._graphs[n]) for n in self.modalities]
            terms.append(self.contrastive_weight * self._contrast(final, views, interaction))
        return tuple(terms)

    def _contrast(self, final: Tensor, views: list[Tensor], interaction: Any) -> Tensor:
        """Eq. 19 with the main view as the anchor, Eq. 18 with modalities; a mean over the batch.

        A user or item that a batch holds several times is contrasted once, and counts so often.
        """
        drawn = interaction[self.USER_ID], interaction[self.ITEM_ID] + self.n_users
        distinct = [nodes.unique(return_counts=True) for nodes in drawn]
        nodes = torch.cat([nodes for nodes, _ in distinct])
        units = [unit_rows(view) for view in views]
        if self.contrastive_anchor == "main":
            anchor = unit_rows(functional.embedding(nodes, final))
            pairs = [(anchor, unit) for unit in units]
        else:
            anchors = [functional.embedding(nodes, unit) for unit in units]
            others = itertools.permutations(range(len(units)), 2)
            pairs = [(anchors[one], units[other]) for one, other in others]
        # Candidates are all users, or all items, but the padding.
        parts = [1, self.n_users - 1, 1, self.n_items - 1]
        total = final.new_zeros(())
        for anchor, unit in pairs:
            of_sides = anchor.split([len(nodes) for nodes, _ in distinct])
            candidates = unit.split(parts)[1::2]
            for side, start in enumerate((1, self.n_users + 1)):
                nodes, counts = distinct[side]
                total = total + unit_info_nce(
                    of_sides[side], candidates[side], nodes - start, self.temperature, counts
                )
        return total / len(drawn[0])

    def _regularization(self) -> Tensor:
        """Sum of squares of all weights of the task (Eq. 26), or of the id embeddings alone."""
        tables = [self.user_embedding.weight, self.item_embedding.weight]
        weights = tables if self.reg_scope == "embeddings" else self.recommendation_parameters()
        return _total(weight.square().sum() for weight in weights)

    def scoring_embeddings(self) -> tuple[Tensor, Tensor]:
        """Eq. 23 with all edges of the generated graphs."""
        features = {name: self.modal_features(name) for name in self.modalities}
        graphs = {name: self.generated_graph(name) for name in self.modalities}
        users, items = self.aggregate(features, graphs).split([self.n_users, self.n_items])
        return users, items


def _alignment(kind: str, width: int, size: int) -> nn.Module:
    """Trans of Eq. 15: a linear layer, or a matrix and LeakyReLU (Table 4)."""
    layer = nn.Linear(width, size, bias=kind == "linear")
    nn.init.xavier_uniform_(layer.weight)
    return layer if kind == "linear" else nn.Sequential(layer, nn.LeakyReLU(0.2))


def _total(tensors: Any) -> Tensor:
    """Sum of one or more tensors of one shape."""
    first, *others = tensors
    return sum(others, start=first)

"""BM3: two views of embeddings and features that predict each other, without negatives.

Source: Zhou et al. 2023, Bootstrap Latent Representations for Multi-modal Recommendation (WWW).
"""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from recbole_diffusion.models.multimodal.base import MultimodalRecommender
from recbole_diffusion.models.multimodal.settings import BM3Settings
from recbole_diffusion.nn.graph import interaction_graph
from recbole_diffusion.nn.rows import interaction_matrix


class BM3(MultimodalRecommender):
    """Online embeddings go through a predictor, targets through dropout and no gradient."""

    loss_names = ("ranking", "features", "regularization")

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        keys = BM3Settings(config)
        self.n_layers, self.dropout = keys.n_layers, keys.dropout
        self.modal_weight, self.reg_weight = keys.modal_weight, keys.reg_weight
        self.graph = interaction_graph(interaction_matrix(dataset))
        self.projection = self.projections(self.embedding_size)
        self.predictor = nn.Linear(self.embedding_size, self.embedding_size)
        nn.init.xavier_normal_(self.predictor.weight)

    def _online(self) -> tuple[Tensor, Tensor]:
        """Of users [n_users, d] and items [n_items, d], LightGCN's mean; items with a residual.

        Source: Eq. 2-4.
        """
        mean = self.convolved(self.graph, self.n_layers)
        users, items = mean.split([self.n_users, self.n_items])
        return users, items + self.item_embedding.weight

    def scoring_embeddings(self) -> tuple[Tensor, Tensor]:
        """Of users and items behind the predictor (section 3.4)."""
        users, items = self._online()
        return self.predictor(users), self.predictor(items)

    def calculate_loss(self, batch: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Eq. 8 for users and items, Eq. 9 and 10 for features, and Eq. 11's regularisation."""
        user_ids, item_ids, _ = self.places(batch)
        all_users, all_items = self._online()
        users, items = all_users[user_ids], all_items[item_ids]
        user_target, item_target = self._target(users), self._target(items)
        ranking = _distance(self.predictor(users), item_target) + _distance(
            self.predictor(items), user_target
        )
        of_features = users.new_zeros(())
        for name in self.modalities:
            modal = self.projection[name](self.features(name)[item_ids])
            predicted = self.predictor(modal)
            of_features = of_features + _distance(predicted, item_target)
            of_features = of_features + _distance(predicted, self._target(modal))
        norms = (all_users.norm() + all_items.norm()) / self.n_items
        return ranking, self.modal_weight * of_features, self.reg_weight * norms

    def _target(self, x: Tensor) -> Tensor:
        """The other view (Eq. 6)."""
        return functional.dropout(x.detach(), self.dropout, self.training)


def _distance(online: Tensor, target: Tensor) -> Tensor:
    """1 less the mean cosine (Eq. 7)."""
    return 1 - functional.cosine_similarity(online, target, dim=1).mean()

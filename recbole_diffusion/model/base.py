"""What models of one kind share: on embeddings, or on users' rows of interactions."""

from typing import Any

import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType


class EmbeddingRecommender(GeneralRecommender):
    """Scores are inner products of embeddings that are computed once per evaluation.

    A subclass gives ``scoring_embeddings``; what it returns is kept from one ``train()`` or
    ``eval()`` call to the next, and is no part of a checkpoint.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self._scoring_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None

    def scoring_embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        """User [n_users, d] and item [n_items, d] embeddings whose inner products rank items."""
        raise TypeError(f"{type(self).__name__} does not define scoring_embeddings")

    def train(self, mode: bool = True) -> "EmbeddingRecommender":
        """Switch mode as PyTorch does, and forget the embeddings of the last evaluation."""
        self._scoring_embeddings = None
        super().train(mode)
        return self

    @torch.no_grad()
    def _embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        if self._scoring_embeddings is None:
            self._scoring_embeddings = self.scoring_embeddings()
        return self._scoring_embeddings

    def predict(self, interaction: Any) -> torch.Tensor:
        """Scores of given user-item pairs.

        Args:
            interaction: Holds users and items, each [B].

        Returns:
            float32 [B]; larger is better.
        """
        users, items = self._embeddings()
        return (users[interaction[self.USER_ID]] * items[interaction[self.ITEM_ID]]).sum(dim=1)

    def full_sort_predict(self, interaction: Any) -> torch.Tensor:
        """Scores of given users for every item.

        Args:
            interaction: Holds users [B].

        Returns:
            float32 [B, n_items], column 0 (padding) included; larger is better.
        """
        users, items = self._embeddings()
        return users[interaction[self.USER_ID]] @ items.T  # [B, d] @ [d, n_items]


class RowRecommender(GeneralRecommender):
    """Trains on batches of users, and scores a user's whole row of items at once.

    A subclass gives ``full_sort_predict``, which reads nothing but the users.
    """

    input_type = InputType.LISTWISE
    train_loader = "users"

    def predict(self, interaction: Any) -> torch.Tensor:
        """Scores [B] of given user-item pairs."""
        users, places = interaction[self.USER_ID].unique(return_inverse=True)
        rows: torch.Tensor = self.full_sort_predict({self.USER_ID: users})
        return rows[places, interaction[self.ITEM_ID]]

    def _no_loss(self) -> torch.Tensor:
        """Zero, with a gradient of zeros."""
        return torch.stack([p.sum() for p in self.parameters()]).sum() * 0.0

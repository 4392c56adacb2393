"""What models of one kind share: on embeddings, or on users' rows of interactions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType, ModelType
from torch import Tensor, nn

from recbole_diffusion.data.recency import ALIKE, Recency
from recbole_diffusion.nn.rows import InteractionRows, RowBatch, history_rows
from recbole_diffusion.training.carry import ITEMS, USERS, Axes


class EmbeddingRecommender(GeneralRecommender):
    """Scores are inner products of embeddings that are computed once per evaluation.

    A subclass gives ``scoring_embeddings``; what it returns is kept until a parameter or buffer
    changes, however that is done, or ``train()`` or ``eval()`` is called. It is no part of a
    checkpoint.
    """

    id_axes: Mapping[str, Axes] = {
        "user_embedding.weight": (USERS,),
        "item_embedding.weight": (ITEMS,),
    }

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self._scoring_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None
        self._scored_state: list[tuple[int, ...]] = []

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
        state = state_of_weights(self)
        if self._scoring_embeddings is None or state != self._scored_state:
            self._scoring_embeddings = self.scoring_embeddings()
            self._scored_state = state
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


def state_of_weights(module: nn.Module) -> list[tuple[int, ...]]:
    """Equal for equal weights; O(parameters).

    PyTorch counts writes to a tensor, but neither those of fused optimisers nor those through
    ``data``: for parameters, which these write to, their bits are added up as well.

    Args:
        module: Whose parameters and buffers are meant.
    """
    marks = [_place(tensor) for tensor in (*module.parameters(), *module.buffers())]
    sums = [_sum_of_bits(parameter) for parameter in module.parameters()]
    return [*marks, tuple(torch.stack(sums).tolist() if sums else ())]


def _place(tensor: torch.Tensor) -> tuple[int, ...]:
    """Where a tensor lies, and how often it was written to; sparse ones have no place."""
    is_dense = tensor.layout == torch.strided
    return id(tensor), tensor.data_ptr() if is_dense else 0, tensor._version


def _sum_of_bits(parameter: torch.Tensor) -> torch.Tensor:
    """Of a parameter's memory, as numbers of 64 bits, which add up fastest; the rest by bytes."""
    content = parameter.detach().contiguous().flatten().view(torch.uint8)
    whole = len(content) // 8 * 8
    return content[:whole].view(torch.int64).sum() + content[whole:].sum()


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


class MeanOverUsers:
    """Of models whose loss is the mean over those users of a batch that have interactions."""

    rows: InteractionRows
    USER_ID: str

    def loss_counts(self, interaction: Any) -> Tensor:
        """What each user of a batch counts in the mean that is its loss [B]."""
        return (self.rows.lengths_of(interaction[self.USER_ID]) > 0).float()


class HistoryRecommender(RowRecommender):
    """Scores a row of interactions without knowing whose it is.

    A subclass gives ``_scores`` and sets ``rows``, and ``recency`` where the order in a row counts.
    """

    rows: InteractionRows
    # Values of a row's interactions.
    recency: Recency = ALIKE

    def _scores(self, rows: RowBatch) -> torch.Tensor:
        """Scores [B, n_items] of rows."""
        raise TypeError(f"{type(self).__name__} does not define _scores")

    def full_sort_predict(self, interaction: Any) -> torch.Tensor:
        """Scores [B, n_items] of given users for every item."""
        return self._scores(self.rows.batch(interaction[self.USER_ID]))

    @torch.no_grad()
    def score_histories(self, histories: Sequence[Sequence[int] | torch.Tensor]) -> torch.Tensor:
        """Scores of users outside the data, without training on them.

        Args:
            histories: Internal item ids of each user; with ``recency`` their order is the time's.

        Returns:
            [len(histories), n_items]; items of the history are not masked.

        Raises:
            UserError: An item that is not in the data, or is in a history twice.
        """
        rows = history_rows(histories, self.n_items, self.recency)
        return self._scores(rows.to(self.rows.items.device))


class MatrixRecommender(HistoryRecommender):
    """Scores are a user's row times one matrix of items, which a subclass makes by ``solve``.

    Attributes:
        weights: float32 [n_items, n_items] after ``solve`` or from a checkpoint, else [0, 0].
    """

    type = ModelType.TRADITIONAL
    weights: Tensor

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.register_buffer("weights", torch.zeros(0, 0))
        self.unused = nn.Parameter(torch.zeros(1))  # RecBole's optimiser wants one

    def matrix(self) -> np.ndarray | sp.csr_matrix:
        """The matrix [n_items, n_items] on the CPU."""
        return self.weights.cpu().numpy()

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Zero: nothing is trained by gradients."""
        return self._no_loss()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        """A checkpoint of a solved model brings the matrix."""
        found = state_dict.get(f"{prefix}weights")
        sizes = (0, 0), (self.n_items, self.n_items)
        if isinstance(found, Tensor) and found.shape != self.weights.shape and found.shape in sizes:
            self.weights = torch.empty_like(found, device=self.weights.device)
        super()._load_from_state_dict(state_dict, prefix, *others)

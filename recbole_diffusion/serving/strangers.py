"""Scores of users whom training never saw, from the items of each."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from recbole.model.abstract_recommender import AbstractRecommender
from torch import Tensor
from torch.nn import functional

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.data.recency import ALIKE, Recency
from recbole_diffusion.models.base import EmbeddingRecommender, MatrixRecommender
from recbole_diffusion.models.lindiffrec.model import LinDiffRec
from recbole_diffusion.nn.rows import InteractionRows, RowBatch, history_rows

# Of the ridge regression, in units of the mean square of its inputs.
RIDGE = 1e-4
# Users of the data whose scores tell whether vectors or a matrix are the model's.
N_CHECKED = 8
# Where RecBole's models keep the matrix that a row of interactions is multiplied by.
MATRICES = ("item_similarity", "w")

Scorer = Callable[[Sequence[Sequence[int]]], Tensor]


@torch.no_grad()
def vector_tables(model: Any) -> tuple[Tensor, Tensor] | None:
    """Vectors of users [n_users, d] and items [n_items, d] whose products are a model's scores.

    Those that RecBole's models show in one of their usual ways are taken if their products are the
    scores of a few users; None for other models.
    """
    if type(model).full_sort_predict is AbstractRecommender.full_sort_predict:
        return None  # scores pairs alone
    for users, items in _candidates(model):
        if _are_scores(model, partial(_products, users, items)):
            return users.detach(), items.detach()
    return None


def _products(users: Tensor, items: Tensor, ids: Tensor) -> Tensor:
    return users[ids] @ items.T


def _candidates(model: Any) -> list[tuple[Tensor, Tensor]]:
    """Pairs of tables [n_users, d] and [n_items, d] that may be the model's."""
    if isinstance(model, EmbeddingRecommender):
        return [model.scoring_embeddings()]
    found: list[Any] = []
    parameters = inspect.signature(model.forward).parameters.values()
    if all(p.default is not p.empty or p.kind == p.VAR_KEYWORD for p in parameters):
        found.append(model.forward())
    _score(model, torch.ones(1, dtype=torch.int64))  # keeps what it made of a graph
    found += [
        (getattr(model, user, None), getattr(model, item, None))
        for user, item in (
            ("restore_user_e", "restore_item_e"),
            ("user_embedding", "item_embedding"),
        )
    ]
    return [tables for pair in found if (tables := _tables(model, pair)) is not None]


def _tables(model: Any, pair: Any) -> tuple[Tensor, Tensor] | None:
    if not isinstance(pair, (tuple, list)) or len(pair) < 2:
        return None
    users, items = (getattr(part, "weight", part) for part in pair[:2])
    if not isinstance(users, Tensor) or not isinstance(items, Tensor):
        return None
    sizes = [(len(users), model.n_users), (len(items), model.n_items)]
    is_pair = users.dim() == items.dim() == 2 and users.shape[1] == items.shape[1]
    return (users, items) if is_pair and all(a == b for a, b in sizes) else None


@dataclass(frozen=True)
class MatrixScores:
    """Scores of a row of items as its product with one matrix.

    Attributes:
        matrix: [n_items, n_items], an array or sparse.
        recency: What the items of a row weigh.
        length_power: a: a row of n items is divided by n^a.
        empty: Scores of a row without items [n_items]; None: 0.
    """

    matrix: Any
    recency: Recency = ALIKE
    length_power: float = 0.0
    empty: np.ndarray | None = None

    def of_rows(self, rows: RowBatch) -> Tensor:
        """Scores [B, n_items] of rows whose values are the weights by age."""
        scaled = scaled_by_length(rows, self.length_power)
        found: Any = scaled.matrix(self.matrix.shape[0]) @ self.matrix
        dense = found.toarray() if sp.issparse(found) else np.asarray(found)
        scores = torch.from_numpy(dense.astype(np.float32, copy=False))
        if self.empty is not None:
            scores[(rows.lengths == 0).cpu()] = torch.from_numpy(self.empty)
        return scores

    def contributions(self, rows: RowBatch, item: int) -> Tensor:
        """What each item of one row adds to the score of an item [nnz]."""
        column = self.matrix[:, [item]]
        weights = column.toarray() if sp.issparse(column) else np.asarray(column)
        scaled = scaled_by_length(rows, self.length_power)
        added: Tensor = scaled.values * torch.from_numpy(weights.ravel())[rows.items]
        return added


def scaled_by_length(rows: RowBatch, power: float) -> RowBatch:
    """Rows whose values are divided by a power of the number of their items."""
    scale = rows.lengths.clamp_min(1).double().pow(-power).float()
    return rows._replace(values=rows.values * scale[rows.rows])


def matrix_scores(model: Any, rows: InteractionRows) -> MatrixScores | None:
    """A model's scores as products with a matrix of items, if they are such.

    A matrix of a model of RecBole's is taken if it gives the scores of a few users.

    Args:
        model: In evaluation mode.
        rows: Train items of users as the model reads them.
    """
    if isinstance(model, LinDiffRec):
        popularity, whole = model.popularity.cpu().numpy(), model.matrix()
        is_array = isinstance(whole, np.ndarray)
        matrix = whole * popularity if is_array else sp.csr_matrix(whole).multiply(popularity)
        weighted = matrix if is_array else sp.csr_matrix(matrix)
        counts = model.counts.cpu().numpy()
        return MatrixScores(weighted, model.recency, model.history_power, counts)
    if isinstance(model, MatrixRecommender):
        return MatrixScores(model.matrix())
    for name in MATRICES:
        matrix = getattr(model, name, None)
        if getattr(matrix, "shape", None) != (model.n_items,) * 2:
            continue
        found = MatrixScores(matrix, recency_of_rows(model))
        if _are_scores(model, partial(_row_products, rows, found)):
            return found
    return None


def _row_products(rows: InteractionRows, linear: MatrixScores, ids: Tensor) -> Tensor:
    return linear.of_rows(rows.batch(ids.to(rows.items.device)))


def recency_of_rows(model: Any) -> Recency:
    """What the items of a history weigh, for any model."""
    recency: Recency = getattr(model, "recency", ALIKE)
    return recency


def _are_scores(model: Any, scores: Callable[[Tensor], Tensor]) -> bool:
    users = spread(model.n_users, N_CHECKED)
    expected = _score(model, users).cpu()[:, 1:]
    found = scores(users.to(expected.device)).cpu()[:, 1:]
    scale = expected.abs().max().item()
    return torch.allclose(found.float(), expected.float(), rtol=1e-3, atol=1e-4 * scale)


def spread(n_ids: int, n: int) -> Tensor:
    """Internal ids without the padding, n at most, evenly spread; int64."""
    return torch.linspace(1, n_ids - 1, min(n, n_ids - 1)).long()


@torch.no_grad()
def _score(model: Any, users: Tensor) -> Tensor:
    scores: Tensor = model.full_sort_predict({model.USER_ID: users.to(model.device)})
    return scores.view(len(users), -1)


@torch.no_grad()
def history_scorer(model: Any, rows: InteractionRows) -> Scorer:
    """What scores users outside the data by a model.

    Args:
        model: In evaluation mode.
        rows: Train items of the users of the data as the model reads them.

    Returns:
        From the internal item ids of each user, in the order of time, to scores
        [n_histories, n_items].

    Raises:
        UserError: The model cannot.
    """
    if hasattr(model, "score_histories"):
        return lambda histories: model.score_histories(histories)
    linear = matrix_scores(model, rows)
    if linear is not None:
        n_items, recency = model.n_items, linear.recency
        return lambda histories: linear.of_rows(history_rows(histories, n_items, recency))
    vectors = history_vectors(model, rows)
    if vectors is not None:
        return vectors
    raise UserError(
        f"model {type(model).__name__} cannot score users outside the data: its scores are no "
        "function of a row of items, nor products with vectors of users and items"
    )


@torch.no_grad()
def history_vectors(model: Any, rows: InteractionRows) -> "HistoryVectors | None":
    """How a model of vectors scores users outside the data; None for other models."""
    tables = vector_tables(model)
    if tables is None:
        return None
    users, items = tables
    everybody = rows.batch(torch.arange(1, len(users), device=rows.items.device))
    return HistoryVectors.fitted(items, users[1:], everybody.to(items.device))


class HistoryVectors:
    """Users' vectors from the mean of their items' vectors, by a linear map.

    Args:
        items: Vectors of the items [n_items, d].
        map: Of the mean and a one, float64 [d + 1, d].
    """

    def __init__(self, items: Tensor, map: Tensor) -> None:
        self.items, self.map = items, map
        self._wide_items = items.double()

    @classmethod
    def fitted(cls, items: Tensor, users: Tensor, rows: RowBatch) -> "HistoryVectors":
        """With the ridge regression of trained vectors of users on their items' means.

        Args:
            items: Vectors of the items [n_items, d].
            users: Trained vectors of users [n, d].
            rows: Their train items.
        """
        wide = items.double()
        has_items = rows.lengths > 0
        means = _means(rows, wide)[has_items]
        weight = RIDGE * means.square().mean() * len(means)
        identity = torch.eye(means.shape[1], dtype=means.dtype, device=means.device)
        gram = means.mT @ means + weight * identity
        return cls(items, torch.linalg.solve(gram, means.mT @ users[has_items].double()))

    @torch.no_grad()
    def __call__(self, histories: Sequence[Sequence[int]]) -> Tensor:
        """Scores [n_histories, n_items]."""
        rows = history_rows(histories, len(self.items)).to(self.items.device)
        return self.scores(rows)

    def vectors(self, rows: RowBatch) -> Tensor:
        """Vectors [B, d] of rows that each hold an item."""
        return (_means(rows, self._wide_items) @ self.map).to(self.items.dtype)

    def scores(self, rows: RowBatch) -> Tensor:
        """Scores [B, n_items] of such rows."""
        return self.vectors(rows) @ self.items.T


def _means(rows: RowBatch, items: Tensor) -> Tensor:
    """Mean of the vectors of each row's items and a one, float64 [B, d + 1]."""
    alike = rows._replace(values=torch.ones_like(rows.values))
    means = alike.product(items) / rows.lengths[:, None]
    return functional.pad(means, (0, 1), value=1.0)

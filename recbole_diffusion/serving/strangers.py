"""Scores of users whom training never saw, from the items of each."""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from recbole.model.abstract_recommender import AbstractRecommender
from torch import Tensor
from torch.nn import functional

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.models.base import EmbeddingRecommender
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


def item_matrix(model: Any) -> np.ndarray | sp.spmatrix | None:
    """The matrix [n_items, n_items] of a model of RecBole's that multiplies users' rows by it.

    It is taken if it gives the scores of a few users; None for other models.
    """
    rows = getattr(model, "interaction_matrix", None)
    for name in MATRICES:
        matrix = getattr(model, name, None)
        if rows is None or getattr(matrix, "shape", None) != (model.n_items,) * 2:
            continue
        if _are_scores(model, partial(_row_products, rows.tocsr(), matrix)):
            return matrix
    return None


def _row_products(rows: sp.csr_matrix, matrix: np.ndarray | sp.spmatrix, ids: Tensor) -> Tensor:
    return _product(rows[ids.cpu().numpy()], matrix)


def _product(rows: sp.csr_matrix, matrix: np.ndarray | sp.spmatrix) -> Tensor:
    found = rows @ matrix
    dense = found.toarray() if sp.issparse(found) else np.asarray(found)
    return torch.from_numpy(dense.astype(np.float32))


def _are_scores(model: Any, scores: Callable[[Tensor], Tensor]) -> bool:
    users = torch.linspace(1, model.n_users - 1, min(N_CHECKED, model.n_users - 1)).long()
    expected = _score(model, users).cpu()[:, 1:]
    found = scores(users.to(expected.device)).cpu()[:, 1:]
    scale = expected.abs().max().item()
    return torch.allclose(found.float(), expected.float(), rtol=1e-3, atol=1e-4 * scale)


@torch.no_grad()
def _score(model: Any, users: Tensor) -> Tensor:
    scores: Tensor = model.full_sort_predict({model.USER_ID: users.to(model.device)})
    return scores.view(len(users), -1)


@torch.no_grad()
def history_scorer(model: Any, rows: InteractionRows) -> Scorer:
    """What scores users outside the data by a model.

    Args:
        model: In evaluation mode.
        rows: Train items of the users of the data.

    Returns:
        From the internal item ids of each user, in the order of time, to scores
        [n_histories, n_items].

    Raises:
        UserError: The model cannot.
    """
    if hasattr(model, "score_histories"):
        return lambda histories: model.score_histories(histories)
    matrix = item_matrix(model)
    if matrix is not None:
        n_items = model.n_items
        return lambda histories: _product(history_rows(histories, n_items).matrix(n_items), matrix)
    tables = vector_tables(model)
    if tables is not None:
        users, items = tables
        everybody = rows.batch(torch.arange(1, len(users))).to(items.device)
        return HistoryVectors(items, users[1:], everybody)
    raise UserError(
        f"model {type(model).__name__} cannot score users outside the data: its scores are no "
        "function of a row of items, nor products with vectors of users and items"
    )


class HistoryVectors:
    """Users' vectors from the mean of their items' vectors, by a linear map.

    The map is the ridge regression of trained vectors of users on these means.

    Args:
        items: Vectors of the items [n_items, d].
        users: Trained vectors of users [n, d].
        rows: Their train items.
    """

    def __init__(self, items: Tensor, users: Tensor, rows: RowBatch) -> None:
        self.items, self._wide_items = items, items.double()
        has_items = rows.lengths > 0
        means = self._means(rows)[has_items]
        weight = RIDGE * means.square().mean() * len(means)
        identity = torch.eye(means.shape[1], dtype=means.dtype, device=means.device)
        gram = means.mT @ means + weight * identity
        self.map = torch.linalg.solve(gram, means.mT @ users[has_items].double())  # [d + 1, d]

    def _means(self, rows: RowBatch) -> Tensor:
        """Mean of each row's items and a one, float64 [B, d + 1]."""
        alike = rows._replace(values=torch.ones_like(rows.values))
        means = alike.product(self._wide_items) / rows.lengths[:, None]
        return functional.pad(means, (0, 1), value=1.0)

    @torch.no_grad()
    def __call__(self, histories: Sequence[Sequence[int]]) -> Tensor:
        """Scores [n_histories, n_items]."""
        rows = history_rows(histories, len(self.items)).to(self.items.device)
        return self.scores(rows)

    def scores(self, rows: RowBatch) -> Tensor:
        """Scores [B, n_items] of rows that each hold an item."""
        users = self._means(rows) @ self.map
        return users.to(self.items.dtype) @ self.items.T

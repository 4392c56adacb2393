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
from recbole_diffusion.nn.rows import history_rows

# Of the squared scores of all items beside the squared errors at a user's own, and of a vector's
# squared length in the mean of the items': chosen on the validation part of ml-100k.
OTHERS_WEIGHT, LENGTH_WEIGHT = 0.03, 0.1
# Users of the data whose scores tell whether vectors or a matrix are the model's.
N_CHECKED = 8
# Where RecBole's models keep the matrix that a row of interactions is multiplied by.
MATRICES = ("item_similarity", "w")

Scorer = Callable[[Sequence[Sequence[int]]], Tensor]


def item_vectors(model: Any) -> Tensor | None:
    """The items' vectors [n_items, d] of a model whose scores are products with users' vectors.

    Those that RecBole's models show in one of their usual ways are taken if their products are the
    scores of a few users; None for other models.
    """
    if type(model).full_sort_predict is AbstractRecommender.full_sort_predict:
        return None  # scores pairs alone
    for users, items in _candidates(model):
        if _are_scores(model, partial(_products, users, items)):
            return items
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
def history_scorer(model: Any) -> Scorer:
    """What scores users outside the data by a model.

    Args:
        model: In evaluation mode.

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
    vectors = item_vectors(model)
    if vectors is not None:
        return _VectorScorer(vectors.detach())
    raise UserError(
        f"model {type(model).__name__} cannot score users outside the data: its scores are no "
        "function of a row of items, nor products with vectors of the items"
    )


class _VectorScorer:
    """A vector for each history by ridge regression against the vectors of items.

    It is the v that minimises the sum over the history's items of (1 - v.e)^2, plus
    ``OTHERS_WEIGHT`` times the sum over all items of (v.e)^2, plus ``LENGTH_WEIGHT`` times |v|^2
    in units of the items' mean squared length; as iALS (Hu et al. 2008) folds users in.

    Args:
        vectors: Of the items [n_items, d].
    """

    def __init__(self, vectors: Tensor) -> None:
        self.vectors = vectors
        real = vectors[1:].double()
        unit = real.square().sum(dim=1).mean()
        identity = torch.eye(vectors.shape[1], dtype=torch.float64, device=vectors.device)
        self.base = OTHERS_WEIGHT * real.T @ real + LENGTH_WEIGHT * unit * identity

    @torch.no_grad()
    def __call__(self, histories: Sequence[Sequence[int]]) -> Tensor:
        rows = history_rows(histories, len(self.vectors)).to(self.vectors.device)
        longest = int(rows.lengths.max()) if len(rows.lengths) else 0
        padded = rows.items.new_zeros(len(rows.lengths), longest)
        padded[rows.rows, rows.places] = rows.items
        is_item = (padded > 0)[..., None]
        own = functional.embedding(padded, self.vectors).double() * is_item
        users = torch.linalg.solve(self.base + own.mT @ own, own.sum(dim=1))
        return users.to(self.vectors.dtype) @ self.vectors.T

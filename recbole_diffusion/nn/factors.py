"""Singular vectors of the train matrix."""

from logging import getLogger
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.utils.extmath import randomized_svd

from recbole_diffusion.base.errors import UserError, expect


class ItemFactors(NamedTuple):
    """The part of a truncated SVD ``R = U diag(s) V^T`` that belongs to items.

    Attributes:
        vectors: V float32 [n_items, rank].
        singular_values: s float32 [rank], in falling order, none zero.
    """

    vectors: np.ndarray
    singular_values: np.ndarray


def item_factors(interactions: sp.csr_matrix, most: int, seed: int) -> ItemFactors:
    """Right singular vectors by the randomised scheme; O((nnz + n * rank) * rank) a pass over R.

    Args:
        interactions: Train matrix R [n_users, n_items], of ones or normalised; row 0 and column 0
            are padding and empty.
        most: Number of vectors (key `svd_rank`); fewer where the rank of R is lower, which is told.
        seed: Of the random start.

    Returns:
        Vectors and singular values, computed in float64.

    Raises:
        UserError: R is empty, or the decomposition fails.

    Source: Halko et al. 2011; LD4MRec, Eq. 14.
    """
    rank = min(most, min(interactions.shape) - 1)
    try:
        _, values, vectors = randomized_svd(
            interactions.astype(np.float64), rank, random_state=seed
        )
    except np.linalg.LinAlgError as error:
        raise UserError(
            f"SVD of the train matrix: {error}: lower key `svd_rank` (found {most})"
        ) from error
    # Vectors of a value of zero would be any.
    n_found = np.count_nonzero(values > values[0] * max(interactions.shape) * np.finfo(float).eps)
    expect(n_found > 0, "svd_rank", most, "a train matrix with interactions")
    if n_found < most:
        getLogger().warning(
            f"key `svd_rank`: found {most}; the train matrix has rank {n_found}, which is used"
        )
    vectors = np.ascontiguousarray(vectors[:n_found].T, dtype=np.float32)
    return ItemFactors(vectors, values[:n_found].astype(np.float32))

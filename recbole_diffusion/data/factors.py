"""Singular vectors of the train matrix."""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.utils.extmath import randomized_svd

from recbole_diffusion.errors import UserError, expect


class ItemFactors(NamedTuple):
    """The part of a truncated SVD ``R = U diag(s) V^T`` that belongs to items.

    Attributes:
        vectors: V float32 [n_items, rank].
        singular_values: s float32 [rank], in falling order, none zero.
    """

    vectors: np.ndarray
    singular_values: np.ndarray


def item_factors(interactions: sp.csr_matrix, rank: int, seed: int) -> ItemFactors:
    """Right singular vectors by the randomised scheme; O((nnz + n * rank) * rank) a pass over R.

    Args:
        interactions: Train matrix R [n_users, n_items]; row 0 and column 0 are padding and empty.
        rank: Number of vectors.
        seed: Of the random start.

    Returns:
        Vectors and singular values, computed in float64.

    Raises:
        UserError: R has a lower rank, or the decomposition fails.

    Source: Halko et al. 2011; LD4MRec, Eq. 14.
    """
    most = min(interactions.shape) - 1
    expect(rank <= most, "svd_rank", rank, f"1..{most} (the smaller number of users and items)")
    try:
        _, values, vectors = randomized_svd(
            interactions.astype(np.float64), rank, random_state=seed
        )
    except np.linalg.LinAlgError as error:
        raise UserError(
            f"SVD of the train matrix: {error}: lower key `svd_rank` (found {rank}), or do "
            "without by `use_collaboration: false`"
        ) from error
    # Vectors of a value of zero would be any.
    n_found = np.count_nonzero(values > values[0] * max(interactions.shape) * np.finfo(float).eps)
    expect(n_found == rank, "svd_rank", rank, f"1..{n_found} (the rank of the train matrix)")
    vectors = np.ascontiguousarray(vectors.T, dtype=np.float32)
    return ItemFactors(vectors, values.astype(np.float32))

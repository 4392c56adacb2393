"""The training interactions as one sparse matrix."""

from typing import Any

import numpy as np
import scipy.sparse as sp


def interaction_matrix(dataset: Any) -> sp.csr_matrix:
    """Training interactions as a binary matrix; repeated pairs count once.

    Args:
        dataset: RecBole's dataset of the train split.

    Returns:
        float32 CSR matrix [n_users, n_items]; row 0 and column 0 are padding and empty.
    """
    matrix = dataset.inter_matrix(form="csr").astype(np.float32)
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix

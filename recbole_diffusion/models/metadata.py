"""InfoDCL's auxiliary metadata (section 3.1.1): item vectors from similar users and similar items.

Every step is a sparse product over a block of rows, so that no array of users x users or
items x items is ever held: a block costs O(rows * their overlaps) time and memory.
"""

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

BLOCK_ROWS = 1024
# Overlaps of one block at most, but for a single row: some 100 MB with their copies.
BLOCK_ENTRIES = 2**22


def jaccard_blocks(
    sets: sp.csr_matrix, block_rows: int = BLOCK_ROWS
) -> Iterator[tuple[slice, sp.csr_matrix]]:
    """Jaccard similarity of each row's set with every other row's.

    Args:
        sets: Binary CSR matrix [n, m]; row i is the set of its nonzero columns.
        block_rows: Rows of one block at most; fewer where they overlap many others.

    Yields:
        The rows of a block, and their float32 similarities [block, n]: |a & b| / |a | b|, stored
        only where it is above zero; the diagonal is zero.
    """
    sets = sets.astype(np.float32)
    sizes = np.diff(sets.indptr)
    columns = sets.T.tocsr()
    # A row overlaps at most as many rows as its columns have entries.
    bound = np.minimum(sets @ np.diff(columns.indptr), sets.shape[0])
    total = np.concatenate([[0], np.cumsum(bound, dtype=np.int64)])
    stop = 0
    while stop < sets.shape[0]:
        start = stop
        fitting = int(np.searchsorted(total, total[start] + BLOCK_ENTRIES, side="right")) - 1
        stop = min(max(fitting, start + 1), start + block_rows, sets.shape[0])
        rows = slice(start, stop)
        overlap = (sets[rows] @ columns).tocoo()
        off_diagonal = overlap.row + start != overlap.col
        row, col = overlap.row[off_diagonal], overlap.col[off_diagonal]
        shared = overlap.data[off_diagonal]
        # float32 throughout: a wider type breaks ties that the released files keep.
        union = (sizes[row + start] + sizes[col]).astype(np.float32) - shared
        yield rows, sp.csr_matrix((shared / union, (row, col)), shape=overlap.shape)


def social_metadata(interactions: sp.csr_matrix, user_embedding: np.ndarray) -> np.ndarray:
    """Item vectors from the user-social graph.

    A user's vector is averaged with the similarity-weighted mean of the other users'; an item is
    the mean of its users.

    Args:
        interactions: Binary train matrix [n_users, n_items].
        user_embedding: Pre-trained user vectors [n_users, d].

    Returns:
        float32 [n_items, d]; zeros for an item without a train interaction.

    Source: Liang et al. 2026, section 3.1.1.
    """
    social = np.array(user_embedding, dtype=np.float32)
    for rows, similarity in jaccard_blocks(interactions):
        weight = np.asarray(similarity.sum(axis=1))  # [block, 1]
        has_peers = weight[:, 0] > 0
        peers = (similarity @ user_embedding)[has_peers] / weight[has_peers]
        embedding = user_embedding[rows]
        social[rows][has_peers] = 0.5 * (embedding[has_peers] + peers)
    counts = np.maximum(np.asarray(interactions.sum(axis=0)).reshape(-1, 1), 1.0)
    return np.asarray(interactions.T @ social / counts, dtype=np.float32)


def knowledge_metadata(
    interactions: sp.csr_matrix, item_embedding: np.ndarray, n_neighbors: int = 20
) -> np.ndarray:
    """Item vectors from the item-similarity graph.

    An item is the mean of its ``n_neighbors`` most similar items' vectors (ties to the lowest id;
    only those with a common user), or its own vector when it has none.

    Args:
        interactions: Binary train matrix [n_users, n_items].
        item_embedding: Pre-trained item vectors [n_items, d].
        n_neighbors: Most similar items to average.

    Returns:
        float32 [n_items, d].

    Source: Liang et al. 2026, section 3.1.1.
    """
    knowledge = np.array(item_embedding, dtype=np.float32)
    for rows, similarity in jaccard_blocks(interactions.T.tocsr()):
        nearest = _largest_per_row(similarity, n_neighbors)
        counts = np.diff(nearest.indptr).reshape(-1, 1)
        has_peers = counts[:, 0] > 0
        mean = (nearest @ item_embedding)[has_peers] / counts[has_peers]
        knowledge[rows][has_peers] = mean
    return knowledge


def _largest_per_row(matrix: sp.csr_matrix, k: int) -> sp.csr_matrix:
    """Ones at each row's ``k`` largest entries; ties go to the lowest column."""
    entries = matrix.tocoo()
    order = np.lexsort((entries.col, -entries.data, entries.row))
    row, col = entries.row[order], entries.col[order]
    first = np.searchsorted(row, np.arange(matrix.shape[0]))
    kept = np.arange(len(row)) - first[row] < k
    ones = np.ones(int(kept.sum()), dtype=np.float32)
    return sp.csr_matrix((ones, (row[kept], col[kept])), shape=matrix.shape)

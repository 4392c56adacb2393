"""Rows that are left once rare users and items are gone, with those that this makes rare."""

from collections.abc import Callable, Sequence

import numpy as np

# Whether each number of rows is enough, bool of the shape given.
Enough = Callable[[np.ndarray], np.ndarray]


def rows_in_core(columns: Sequence[tuple[np.ndarray, Enough]]) -> np.ndarray:
    """Rows whose ids all stand in enough of these rows; rising, int64 [m].

    Args:
        columns: At least one: the id of each row [n], small and not negative, and what is enough.
    """
    kept, n_before = np.arange(len(columns[0][0])), -1
    while len(kept) != n_before:
        n_before = len(kept)
        is_kept = np.ones(n_before, bool)
        for ids, is_enough in columns:
            of_rows = ids[kept]
            is_kept &= is_enough(np.bincount(of_rows))[of_rows]
        kept = kept[is_kept]
    return kept

"""Which rows make the parts of a split: by ratio or the last ones, within groups or over all."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction

Sizes = Callable[[np.ndarray], np.ndarray]


def ratio_sizes(ratios: Sequence[float]) -> Sizes:
    """A rule of sizes: each part but the first is rounded down, and has at least one row.

    What has one row left gives none away; the last part takes first.

    Args:
        ratios: Of the parts; they need not sum to 1.

    Returns:
        From the sizes of groups, int64 [n_groups], to those of their parts, int64
        [n_parts, n_groups].
    """
    total = sum(ratios)
    shares = [ratio / total for ratio in ratios]

    def sizes(counts: np.ndarray) -> np.ndarray:
        wanted = [share * counts for share in shares]
        found = np.array([each.astype(np.int64) for each in wanted])
        found[0] = counts - found[1:].sum(axis=0)
        can_give = np.ones(len(counts), bool)
        for part in range(len(shares) - 1, 0, -1):
            can_give &= found[0] > 1
            is_given = can_give & (wanted[part] > 0) & (wanted[part] < 1)
            found[part] += is_given
            found[0] -= is_given
        return found

    return sizes


def last_sizes(n_parts: int) -> Sizes:
    """A rule of sizes: one row for each part but the first, which keeps at least one.

    Args:
        n_parts: The first one included.

    Returns:
        As ``ratio_sizes``; of groups that are too small the last parts take first.
    """

    def sizes(counts: np.ndarray) -> np.ndarray:
        n_given = np.minimum(n_parts - 1, counts - 1)
        last = [n_given > place for place in range(n_parts - 1)]
        return np.array([counts - n_given, *last[::-1]], dtype=np.int64)

    return sizes


def parts_of_groups(groups: np.ndarray, sizes: Sizes) -> list[np.ndarray]:
    """Rows of each part: groups in the order of their first rows, rows in theirs.

    Args:
        groups: Group of each row, int64 [n], small and not negative.
        sizes: A rule of sizes.

    Returns:
        int64 [n_rows of the part] for each part.
    """
    n = len(groups)
    first = np.full(groups.max(initial=-1) + 1, n)
    first[groups[::-1]] = np.arange(n)[::-1]
    present = np.flatnonzero(first < n)
    present = present[first[present].argsort()]
    rank = np.empty_like(first)
    rank[present] = np.arange(len(present))
    ranks = rank[groups]
    rows = ranks.argsort(kind="stable")
    counts = np.bincount(ranks, minlength=len(present))
    bounds = sizes(counts).cumsum(axis=0)
    place = np.arange(n) - np.repeat(counts.cumsum() - counts, counts)
    part = (place >= np.repeat(bounds[:-1], counts, axis=1)).sum(axis=0)
    return [rows[part == number] for number in range(len(bounds))]


def rows_of(interaction: Any, places: Any) -> Any:
    """Rows of an ``Interaction``, without the list that RecBole makes of the places.

    Args:
        interaction: RecBole's.
        places: An array or a tensor of int64; whatever else a tensor's rows are chosen by.
    """
    chosen = torch.from_numpy(places) if isinstance(places, np.ndarray) else places
    return Interaction({field: interaction[field][chosen] for field in interaction})

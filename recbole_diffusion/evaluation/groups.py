"""Beyond the mean over users: coverage, popularity, and metrics by groups of users and items."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recbole_diffusion.evaluation.per_user import read_frame

# SimDiff, Section VI-G: users with at most so many interactions in train.
SIMDIFF_THRESHOLDS = (5, 10, 15, 20, 25)
# DiffMM, Section 3.4: "the first group consists of users with 0-5 item interactions"; the paper
# gives no other bounds, and SimDiff's stand for them.
DIFFMM_BOUNDS = (0, *SIMDIFF_THRESHOLDS)
ITEM_GROUPS = 5


def activity_groups(n_train: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """Masks [n_users] of users by their interactions in train, by kind and name of the group.

    Args:
        n_train: [n_users].
    """
    at_most = {f"<={bound}": n_train <= bound for bound in SIMDIFF_THRESHOLDS}
    bounds = list(zip(DIFFMM_BOUNDS, DIFFMM_BOUNDS[1:], strict=False))
    between = {
        f"{low + (low > 0)}-{high}": (n_train >= low + (low > 0)) & (n_train <= high)
        for low, high in bounds
    }
    between[f">{DIFFMM_BOUNDS[-1]}"] = n_train > DIFFMM_BOUNDS[-1]
    return {"at_most": at_most, "between": between}


def by_activity(per_user: pd.DataFrame, metrics: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Metrics of one run's users by activity.

    Args:
        per_user: Columns n_train and the metrics.
        metrics: To average in each group.

    Returns:
        By kind ("at_most", "between"), an entry for each group with its number of users.
    """
    return {
        kind: [
            {"group": name, "users": int(mask.sum()), "metrics": _means(per_user[mask], metrics)}
            for name, mask in groups.items()
        ]
        for kind, groups in activity_groups(per_user["n_train"].to_numpy()).items()
    }


def _means(frame: pd.DataFrame, metrics: Sequence[str]) -> dict[str, float | None]:
    return {metric: float(frame[metric].mean()) if len(frame) else None for metric in metrics}


def beyond_accuracy(folder: Path, cutoffs: Sequence[int]) -> dict[str, Any]:
    """What one run's recommendations cover, and recall by how popular the wanted items are.

    Args:
        folder: Of the run, with its ``topk``, ``relevant`` and ``items`` tables.
        cutoffs: Lengths of the lists.

    Returns:
        "diversity": ``itemcoverage``, ``averagepopularity`` and ``giniindex`` of each cut-off, as
        RecBole's metrics of these names; "item_popularity": an entry for each group of items.
    """
    topk = read_frame(folder / "topk.parquet", "user_id", "rank", "item_id")
    relevant = read_frame(folder / "relevant.parquet", "user_id", "item_id")
    items = read_frame(folder / "items.parquet", "item_id", "n_train")
    counts = items["n_train"].to_numpy()
    index = pd.Index(items["item_id"])
    ranked = index.get_indexer(topk["item_id"])
    rank = topk["rank"].to_numpy()
    return {
        "diversity": _diversity(ranked, rank, counts, cutoffs),
        "item_popularity": _by_item_popularity(topk, relevant, index, counts, cutoffs),
    }


def _diversity(
    ranked: np.ndarray, rank: np.ndarray, counts: np.ndarray, cutoffs: Sequence[int]
) -> dict[str, float]:
    found = {}
    for k in cutoffs:
        shown = ranked[rank <= k]
        times = np.bincount(shown, minlength=len(counts))
        found[f"itemcoverage@{k}"] = float(np.mean(times > 0))
        found[f"averagepopularity@{k}"] = float(counts[shown].mean())
        found[f"giniindex@{k}"] = gini(times)
    return found


def gini(times: np.ndarray) -> float:
    """Gini index of how often items are recommended: 0 for all alike, near 1 for one alone.

    Args:
        times: [n_items].
    """
    n_items = len(times)
    weights = 2 * np.arange(1, n_items + 1) - n_items - 1
    return float((weights * np.sort(times)).sum() / (n_items * times.sum()))


def _by_item_popularity(
    topk: pd.DataFrame,
    relevant: pd.DataFrame,
    index: pd.Index,
    counts: np.ndarray,
    cutoffs: Sequence[int],
) -> list[dict[str, Any]]:
    """Recall of the wanted items of each group: mean over the users who want one of it."""
    group = item_groups(counts)
    wanted = relevant.merge(topk, on=["user_id", "item_id"], how="left")
    wanted_group = group[index.get_indexer(wanted["item_id"])]
    users, rank = pd.factorize(wanted["user_id"], sort=True)[0], wanted["rank"].to_numpy()
    found = []
    for number in range(ITEM_GROUPS):
        is_part, size = wanted_group == number, counts[group == number]
        n_wanted = np.bincount(users[is_part])
        has_some = n_wanted > 0
        hits = {f"recall@{k}": np.bincount(users[is_part], rank[is_part] <= k) for k in cutoffs}
        means = pd.DataFrame({name: n[has_some] / n_wanted[has_some] for name, n in hits.items()})
        found.append(
            {
                "group": f"{100 * number // ITEM_GROUPS}-{100 * (number + 1) // ITEM_GROUPS} %",
                "items": len(size),
                "n_train": [int(size.min()), int(size.max())] if len(size) else None,
                "users": int(has_some.sum()),
                "metrics": _means(means, list(hits)),
            }
        )
    return found


def item_groups(counts: np.ndarray) -> np.ndarray:
    """Groups [n_items] of equal size, 0 for the items with the fewest interactions in train."""
    order = np.argsort(counts, kind="stable")
    group = np.empty(len(counts), dtype=np.int64)
    group[order] = np.arange(len(counts)) * ITEM_GROUPS // len(counts)
    return group

"""Made interaction data of a given size, for benchmarks that need no tastes to be learned."""

from pathlib import Path

import numpy as np
import pandas as pd

from recbole_diffusion.data.feature_files import write_features

HEADER = ["user_id:token", "item_id:token"]
PROPERTIES = """\
USER_ID_FIELD: user_id
ITEM_ID_FIELD: item_id
load_col: {inter: [user_id, item_id]}
benchmark_filename: [train, valid, test]
"""
TIMED = """\
USER_ID_FIELD: user_id
ITEM_ID_FIELD: item_id
TIME_FIELD: timestamp
load_col: {inter: [user_id, item_id, timestamp]}
eval_args: {split: {RS: [0.8, 0.1, 0.1]}, order: TO, group_by: user, mode: full}
"""
# A user has at least so many interactions, so that some are held out.
LEAST_OF_USER = 3
# Of draws, as some pairs are drawn twice.
OVERDRAWN = 1.4


def write_synthetic(folder: Path, name: str, n_users: int, n_items: int, n_train: int) -> None:
    """Write ``folder/name/`` with a split; every item is in the train part.

    Args:
        folder: Of data sets, for ``--data_path``.
        name: Of the data set.
        n_users: Number of users.
        n_items: Number of items.
        n_train: About how many train interactions, more than items; some items are popular.
    """
    draw = np.random.default_rng(0)
    n_drawn = n_train - n_items
    users = np.concatenate([np.arange(n_items) % n_users, draw.integers(n_users, size=n_drawn)])
    popular = (n_items * draw.random(n_drawn) ** 2).astype(np.int64)
    pairs = np.unique(users * n_items + np.concatenate([np.arange(n_items), popular]))
    met = np.unique(pairs // n_items)
    valid, test = (met * n_items + draw.integers(n_items, size=len(met)) for _ in range(2))
    valid = np.setdiff1d(valid, pairs)
    test = np.setdiff1d(test, np.concatenate([pairs, valid]))
    (folder / name).mkdir(parents=True)
    (folder / name / f"{name}.yaml").write_text(PROPERTIES)
    for part, rows in (("train", pairs), ("valid", valid), ("test", test)):
        table = pd.DataFrame({HEADER[0]: rows // n_items, HEADER[1]: rows % n_items})
        table.to_csv(folder / name / f"{name}.{part}.inter", sep="\t", index=False)


def write_power_law(
    folder: Path, name: str, n_users: int, n_items: int, n_interactions: int, width: int
) -> None:
    """Write ``folder/name/`` with times, and vectors of users and items; the property file last.

    The r-th user has a share of the interactions that falls as r^(-1/3), the r-th item one that
    falls as r^(-3/4); all users and all items stand in the file.

    Args:
        folder: Of data sets, for ``--data_path``.
        name: Of the data set.
        n_users: Number of users.
        n_items: Number of items.
        n_interactions: Distinct pairs; somewhat fewer where the draws repeat too often.
        width: Of the vectors, ``users.npz`` and ``items.npz``; normally distributed.
    """
    draw = np.random.default_rng(0)
    every_user = np.arange(n_users).repeat(LEAST_OF_USER)
    n_drawn = int(OVERDRAWN * n_interactions)
    users = np.concatenate([every_user, power_law(draw, n_users, 1 / 3, n_drawn)])
    items = power_law(draw, n_items, 3 / 4, len(users))
    sure = np.unique(
        np.concatenate([every_user, draw.integers(n_users, size=n_items)]) * n_items
        + np.concatenate([items[: len(every_user)], np.arange(n_items)])
    )
    others = draw.permutation(np.setdiff1d(users * n_items + items, sure))
    pairs = np.sort(np.concatenate([sure, others[: max(n_interactions - len(sure), 0)]]))
    table = {
        HEADER[0]: pairs // n_items,
        HEADER[1]: pairs % n_items,
        "timestamp:float": draw.permutation(len(pairs)),
    }
    (folder / name).mkdir(parents=True, exist_ok=True)
    pd.DataFrame(table).to_csv(folder / name / f"{name}.inter", sep="\t", index=False)
    for kind, size in (("users", n_users), ("items", n_items)):
        vectors = 0.1 * draw.standard_normal((size, width), np.float32)
        write_features(folder / name / f"{kind}.npz", list(map(str, range(size))), vectors)
    (folder / name / f"{name}.yaml").write_text(TIMED)


def power_law(draw: np.random.Generator, size: int, exponent: float, n: int) -> np.ndarray:
    """Ranks int64 [n] below ``size``; the probability of rank r falls as r^-exponent, below 1."""
    return (size * draw.random(n) ** (1 / (1 - exponent))).astype(np.int64)

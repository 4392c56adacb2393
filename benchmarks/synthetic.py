"""Made interaction data of a given size, for benchmarks that need no tastes to be learned."""

from pathlib import Path

import numpy as np
import pandas as pd

HEADER = ["user_id:token", "item_id:token"]
PROPERTIES = """\
USER_ID_FIELD: user_id
ITEM_ID_FIELD: item_id
load_col: {inter: [user_id, item_id]}
benchmark_filename: [train, valid, test]
"""


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

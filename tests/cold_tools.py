"""A data set whose features tell which items a user wants, and whose items are held out whole."""

from pathlib import Path
from typing import Any

import numpy as np

N_GROUPS, N_USERS, N_ITEMS, WIDTH = 8, 200, 320, 12


def make_cold_data(folder: Path, n_unmet: int = 0) -> dict[str, Any]:
    """Write the data set ``made``: users of a group have met items of it, whose features are alike.

    Args:
        folder: Where a folder of the data set is made.
        n_unmet: Further items of the ``.item`` file that nobody has met.

    Returns:
        Settings of a quiet run of a split of items.
    """
    rng, n_all = np.random.default_rng(0), N_ITEMS + n_unmet
    group = np.arange(n_all) % N_GROUPS
    pairs = []
    for user in range(N_USERS):
        met = np.flatnonzero(group[:N_ITEMS] == user % N_GROUPS)
        others = rng.choice(N_ITEMS, 2, replace=False)
        items = {*rng.choice(met, 16, replace=False).tolist(), *others.tolist()}
        pairs += [f"u{user}\ti{item}" for item in sorted(items)]
    (folder / "made").mkdir()
    lines = ["user_id:token\titem_id:token", *pairs]
    (folder / "made" / "made.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = ["item_id:token\tkind:token", *(f"i{item}\tk{group[item]}" for item in range(n_all))]
    (folder / "made" / "made.item").write_text("\n".join(rows) + "\n", encoding="utf-8")
    matrix = rng.normal(size=(N_GROUPS, WIDTH))[group] + 0.4 * rng.normal(size=(n_all, WIDTH))
    ids = np.array([f"i{item}" for item in range(n_all)])
    np.savez(folder / "made" / "text.npz", ids=ids, matrix=matrix.astype(np.float32))
    return {
        "data_path": str(folder),
        "output_dir": str(folder / "runs"),
        "load_col": {"inter": ["user_id", "item_id"]},
        "eval_args": {"split": {"CI": [0.8, 0.1, 0.1]}},
        "item_features": {"text": {"file": "text.npz"}},
        "show_progress": False,
        "use_gpu": False,
        "topk": [5, 10],
        "valid_metric": "Recall@10",
    }

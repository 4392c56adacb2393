"""What the tests of models that read ordered histories share: made histories, and a data set's."""

from typing import Any

import numpy as np

HEAD = ("user_id:token", "item_id:token", "timestamp:float")


def made_histories(
    seed: int, n_users: int, n_items: int, lengths: tuple[int, int]
) -> list[tuple[str, ...]]:
    """Lines of an ``.inter`` file in no order: histories of different items and times.

    Args:
        lengths: Least, and one above the greatest.
    """
    draw = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        items = draw.choice(n_items, draw.integers(*lengths), replace=False)
        times = np.sort(draw.choice(1000, len(items), replace=False))
        rows += [(f"u{user}", f"i{i}", str(t)) for i, t in zip(items, times, strict=True)]
    return [HEAD, *(rows[i] for i in draw.permutation(len(rows)))]


def histories(dataset: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Items and times of each user, in the order of time."""
    users, items, times = (
        dataset.inter_feat[f].numpy() for f in ("user_id", "item_id", "timestamp")
    )
    found = []
    for user in range(dataset.user_num):
        places = np.flatnonzero(users == user)
        places = places[np.argsort(times[places])]
        found.append((items[places], times[places].astype(np.float64)))
    return found

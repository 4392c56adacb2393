"""A data set whose features tell the groups of its items, and whose interactions hardly do."""

from pathlib import Path

import numpy as np


def write_interactions(
    folder: Path, n_own: int, n_users: int = 600, n_items: int = 200, n_groups: int = 10
) -> tuple[np.ndarray, np.random.Generator]:
    """The data set ``made`` in its three parts; see ``test_features_planted``.

    A cold item has ``n_own`` train interactions with users of its group. Gives the groups of the
    items i0, i1 ..., and the generator that goes on.
    """
    rng = np.random.default_rng(0)
    group, is_cold = np.arange(n_items) % n_groups, np.arange(n_items) >= n_items // 2
    user_group = rng.integers(n_groups, size=n_users)
    parts = {"train": set(), "valid": set(), "test": set()}
    for user, own in enumerate(user_group):
        popular, cold = (np.flatnonzero((group == own) & (is_cold == kind)) for kind in (0, 1))
        items = rng.choice(popular, 3, replace=False)
        is_own = rng.random(3) < 0.9
        items = np.where(is_own, items, rng.integers(n_items // 2, size=3))
        parts["train"] |= {(user, item) for item in items}
        held_out = rng.choice(cold, 4, replace=False)
        parts["valid"].add((user, held_out[0]))
        parts["test"] |= {(user, item) for item in held_out[1:]}
    taken = parts["valid"] | parts["test"]
    for item in np.flatnonzero(is_cold):
        free = {u for u in range(n_users) if (u, item) not in taken}
        own = sorted(free & set(np.flatnonzero(user_group == group[item])))
        users = [*rng.choice(own, n_own, replace=False), rng.choice(sorted(free - set(own)))]
        parts["train"] |= {(user, item) for user in users}
    folder.mkdir(parents=True)
    for name, pairs in parts.items():
        rows = ["user_id:token\titem_id:token", *(f"u{u}\ti{i}" for u, i in sorted(pairs))]
        (folder / f"made.{name}.inter").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return group, rng

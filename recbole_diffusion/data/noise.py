"""Random interactions among those to train on, as in DiffRec's Figure 4."""

from typing import Any

import numpy as np
import torch


def add_random_interactions(parts: list[Any], ratio: float, seed: int) -> Any:
    """The train part with items that its users have not met added as interactions.

    Each user gets a proportion of items (DiffRec, Section 4.2.2, "for each user"; LD4MRec does not
    say how it draws): ``ratio`` times the user's train interactions, rounded up or down so that the
    running total over users, and so the whole, is nearest to ``ratio`` times theirs. Items are
    drawn uniformly, without repeats, from those that the user has in none of the parts; a user whom
    this would leave none gets all but one, which stays a negative. An added row follows a random
    train row of its user, and has that row's time and other columns.

    Args:
        parts: RecBole's datasets of train, validation and test, which share no pair; not changed.
        ratio: From 0 to 1; 0 gives the train part itself.
        seed: Of the draws, which leave the global generators alone.

    Returns:
        RecBole's dataset of the noisy train part.
    """
    if not ratio:
        return parts[0]
    train, generator = parts[0], np.random.default_rng(seed)
    train_users, train_items = _pairs(train)
    n_users, n_items = train.user_num, train.item_num - 1  # less the padding
    met = _sorted_pairs(parts)
    n_free = n_items - np.bincount(met[0], minlength=n_users)
    n_rows = np.bincount(train_users, minlength=n_users)
    # Rounding each user alone would leave users of few interactions without any.
    total = np.floor(ratio * np.cumsum(n_rows) + 0.5).astype(np.int64)
    wanted = np.minimum(np.diff(total, prepend=0), np.maximum(n_free - 1, 0))
    owner, rank = _draw_distinct(wanted, n_free, generator)
    items = np.concatenate([train_items, _free_items(owner, rank, *met)])
    by_user = np.argsort(train_users, kind="stable")
    drawn = np.cumsum(n_rows)[owner] - 1 - generator.integers(n_rows[owner])
    origin = np.concatenate([np.arange(len(train_users)), by_user[drawn]])
    order = np.argsort(origin, kind="stable")  # so that rows in order of time stay so
    rows = train.inter_feat[torch.from_numpy(origin[order])]
    rows[train.iid_field] = torch.from_numpy(items[order])
    return train.copy(rows)


def _pairs(part: Any) -> tuple[np.ndarray, np.ndarray]:
    """Users and items of a part, [n] each."""
    return part.inter_feat[part.uid_field].numpy(), part.inter_feat[part.iid_field].numpy()


def _sorted_pairs(parts: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Users and items of all parts, [n] each, by user and then item."""
    users, items = np.concatenate([np.stack(_pairs(part)) for part in parts], axis=1)
    order = np.lexsort((items, users))
    return users[order], items[order]


def _places(counts: np.ndarray) -> np.ndarray:
    """0, 1, ... up to each count, one after the other: [sum of counts]."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _draw_distinct(
    wanted: np.ndarray, size: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """For each user, ``wanted`` of the numbers below ``size``, any set equally likely.

    Args:
        wanted: [n_users], at most ``size``.
        size: [n_users].
        generator: Of the draws.

    Returns:
        Users and their numbers, [sum of wanted] each.
    """
    width = int(size.max()) + 1
    # Who wants most of them gets the first of a shuffle: less than two entries a wanted one.
    is_most = 2 * wanted > size
    owner = np.repeat(np.arange(len(size)), np.where(is_most, size, 0))
    number = _places(np.where(is_most, size, 0))
    shuffled = np.lexsort((generator.random(len(owner)), owner))
    most = shuffled[number < wanted[owner]]
    # The others draw again what they have already; at least half of it is new each time.
    keys = np.zeros(0, dtype=np.int64)
    missing = np.where(is_most, 0, wanted)
    while missing.any():
        drawing = np.repeat(np.arange(len(size)), missing)
        keys = np.union1d(keys, drawing * width + generator.integers(size[drawing]))
        missing = np.where(is_most, 0, wanted) - np.bincount(keys // width, minlength=len(size))
    owners = np.concatenate([owner[most], keys // width])
    return owners, np.concatenate([number[most], keys % width])


def _free_items(
    owner: np.ndarray, rank: np.ndarray, users: np.ndarray, items: np.ndarray
) -> np.ndarray:
    """The ``rank``-th item, from 0, among those that a user has not met.

    Args:
        owner: Users, [n].
        rank: [n].
        users: Users of all pairs, sorted, [n_pairs].
        items: Items of all pairs, sorted for each user, [n_pairs].

    Returns:
        Ids of items, [n].
    """
    counts = np.bincount(users, minlength=int(owner.max(initial=0)) + 1)
    n_free_before = items - 1 - _places(counts)
    width = int(max(items.max(), rank.max(initial=0))) + 1
    # One sorted array for all users: a user's items are where its free items up to `rank` end.
    ends = np.searchsorted(users * width + n_free_before, owner * width + rank, side="right")
    n_met_before = ends - (np.cumsum(counts) - counts)[owner]
    return rank + n_met_before + 1

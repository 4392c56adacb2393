"""Items by user, of whole parts of a data set at once."""

from collections.abc import Sequence
from typing import Any

import numpy as np

# Slots of the table that is asked before the sorted pairs, one byte each.
SLOTS_PER_PAIR, MOST_SLOTS = 8, 2**26


class UserItems:
    """Distinct pairs of a user and an item, sorted.

    Args:
        users: int64 [n].
        items: int64 [n]; a pair may stand there twice.
        n_users: Number of users, padding included.
        n_items: Number of items, padding included.

    Attributes:
        users: User of each distinct pair, sorted, int64 [n_pairs].
        items: Its item, sorted for each user, int64 [n_pairs].
    """

    def __init__(self, users: np.ndarray, items: np.ndarray, n_users: int, n_items: int) -> None:
        self.n_users, self.n_items = n_users, n_items
        # Odd, so that the lowest bits of an item's keys differ from user to user.
        self._stride = n_items | 1
        keys = np.sort(users * self._stride + items)  # np.unique would hash, which is slower
        self._keys = keys[np.diff(keys, prepend=-1) > 0]
        self.users, self.items = np.divmod(self._keys, self._stride)
        self._offsets = np.searchsorted(self.users, np.arange(n_users + 1))
        self._slots: np.ndarray | None = None

    @classmethod
    def of_parts(cls, parts: Sequence[Any]) -> "UserItems":
        """The pairs of some parts of a split, RecBole's datasets."""
        first = parts[0]
        users, items = (
            np.concatenate([part.inter_feat[field].numpy() for part in parts])
            for field in (first.uid_field, first.iid_field)
        )
        return cls(users, items, first.user_num, first.item_num)

    def has(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Whether each pair is among these, bool [n].

        Args:
            users: int64 [n].
            items: int64 [n].
        """
        keys = users * self._stride + items
        slots = self._taken_slots()
        found = slots[keys & (len(slots) - 1)]
        # Only these are searched for: a search in millions of keys misses the caches.
        likely = np.flatnonzero(found)
        places = np.searchsorted(self._keys, keys[likely])
        found[likely] = self._keys[np.minimum(places, len(self._keys) - 1)] == keys[likely]
        return found

    def _taken_slots(self) -> np.ndarray:
        """By the lowest bits of a key, whether any pair has them, bool [a power of 2]."""
        if self._slots is None:
            n_slots = min(1 << (SLOTS_PER_PAIR * len(self._keys)).bit_length(), MOST_SLOTS)
            self._slots = np.zeros(n_slots, dtype=bool)
            self._slots[self._keys & (n_slots - 1)] = True
        return self._slots

    def without(self, others: "UserItems") -> "UserItems":
        """These pairs less those of others."""
        is_kept = ~others.has(self.users, self.items)
        return UserItems(self.users[is_kept], self.items[is_kept], self.n_users, self.n_items)

    def of(self, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The items of some users.

        Args:
            users: int64 [n].

        Returns:
            For each item the place of its user among these, and the item; int64 [m].
        """
        rows, places = spans(self._offsets[users], self._offsets[users + 1])
        return rows, self.items[places]


def spans(starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What lies between starts and ends, one span after the other.

    Args:
        starts: int64 [n].
        ends: int64 [n].

    Returns:
        For each place the number of its span, and the place; int64 [sum of lengths].
    """
    lengths = ends - starts
    numbers = np.repeat(np.arange(len(starts)), lengths)
    before = np.cumsum(lengths) - lengths
    return numbers, np.arange(len(numbers)) + np.repeat(starts - before, lengths)

"""Pairs of user and item: repeats within a part, and pairs that two parts share."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.convert.common import Pair


def drop_duplicates(pairs: Iterable[Pair]) -> tuple[list[Pair], int]:
    """Keeps the first of equal pairs.

    Args:
        pairs: Pairs of one split.

    Returns:
        The distinct pairs in their order, and the number of pairs left out.
    """
    distinct: dict[Pair, None] = {}
    total = 0
    for pair in pairs:
        distinct[pair] = None
        total += 1
    return list(distinct), total - len(distinct)


class DistinctPairs:
    """Keeps the first of equal pairs of a stream, in a few dozen bytes a pair.

    Attributes:
        users: Number of each user, in the order of their first pairs.
        items: Number of each item, likewise.
        repeated: Pairs that were seen before.
    """

    def __init__(self) -> None:
        self.users: dict[str, int] = {}
        self.items: dict[str, int] = {}
        self.repeated = 0
        self._codes: set[int] = set()

    def __len__(self) -> int:
        """Number of distinct pairs."""
        return len(self._codes)

    def add(self, user: str, item: str) -> bool:
        """Takes the next pair of the stream; True if it is new."""
        row = self.users.setdefault(user, len(self.users))
        code = row << 32 | self.items.setdefault(item, len(self.items))
        if code in self._codes:
            self.repeated += 1
            return False
        self._codes.add(code)
        return True


def separate_splits(
    source: Path, splits: Mapping[str, list[Pair]], drop_cross_duplicates: bool
) -> tuple[dict[str, list[Pair]], dict[str, int]]:
    """Makes the splits disjoint, or refuses those that are not.

    Args:
        source: Where the splits come from, for the error message.
        splits: Distinct pairs by split, the split that keeps a shared pair first.
        drop_cross_duplicates: Whether to drop a shared pair from all splits but its first.

    Returns:
        The disjoint splits, and the number of dropped pairs by split.

    Raises:
        UserError: Splits share pairs and ``drop_cross_duplicates`` is off, or dropping the shared
            pairs leaves a split empty.
    """
    overlaps = find_overlaps(splits)
    if any(overlaps.values()) and not drop_cross_duplicates:
        raise _overlap_error(source, overlaps)
    disjoint = {
        split: [pair for pair in pairs if pair not in overlaps[split]]
        for split, pairs in splits.items()
    }
    for split, pairs in disjoint.items():
        if not pairs:
            raise UserError(
                f"{source}: found every pair of the {split} split in an earlier split, "
                "expected at least one new pair."
            )
    return disjoint, {split: len(shared) for split, shared in overlaps.items()}


def find_overlaps(splits: Mapping[str, Iterable[Pair]]) -> dict[str, dict[Pair, str]]:
    """Finds the pairs that an earlier split holds already.

    Args:
        splits: Pairs by split, the split that keeps a shared pair first.

    Returns:
        For each split its pairs that occur in an earlier split, with the name of the first one.
    """
    first_split: dict[Pair, str] = {}
    overlaps: dict[str, dict[Pair, str]] = {}
    for split, pairs in splits.items():
        overlaps[split] = {}
        for pair in pairs:
            if first_split.setdefault(pair, split) != split:
                overlaps[split][pair] = first_split[pair]
    return overlaps


def _overlap_error(source: Path, overlaps: Mapping[str, Mapping[Pair, str]]) -> UserError:
    shared = {pair for pairs in overlaps.values() for pair in pairs}
    (user, item), first, later = next(
        (pair, first, split) for split, pairs in overlaps.items() for pair, first in pairs.items()
    )
    return UserError(
        f"{source}: found {len(shared)} pair(s) in more than one split, for example user {user} "
        f"with item {item} in {first} and {later}, expected disjoint splits "
        "(--drop-cross-duplicates keeps such a pair in its first split only)."
    )

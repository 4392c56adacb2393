"""Writes the planted data set: small, seeded, with a structure that a recommender must find.

Users and items belong to one of five groups. A user takes about 20 items, 90 % of them uniformly
from the own group, and an item's title shares words with its group. Neither ids nor the order of
lines tell the group.
"""

import argparse
from pathlib import Path

import numpy as np

SEED = 2026
NUM_USERS = 200
NUM_ITEMS = 150
MIN_TAKEN, MAX_TAKEN = 16, 24
OWN_SHARE = 0.9
DAY = 86400  # seconds

GROUP_WORDS = {
    "kitchen": ["pan", "kettle", "whisk", "oven", "spoon", "bowl"],
    "garden": ["spade", "hose", "seed", "rake", "pot", "hedge"],
    "music": ["guitar", "drum", "string", "reed", "chord", "piano"],
    "space": ["orbit", "lens", "comet", "star", "lunar", "probe"],
    "sport": ["ball", "racket", "track", "goal", "medal", "net"],
}
GROUPS = list(GROUP_WORDS)
COMMON_WORDS = ["small", "large", "classic", "new", "blue", "red", "deluxe", "basic"]
TITLE_GROUP_WORDS = 3
TITLE_COMMON_WORDS = 2


def shuffled_groups(size: int, rng: np.random.RandomState) -> np.ndarray:
    """Draws groups of equal size in random order, int array [size]."""
    return rng.permutation(size) % len(GROUPS)


def draw_items(group: int, item_groups: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Draws the distinct items of one user in random order.

    Args:
        group: Group of the user.
        item_groups: Group of each item, [NUM_ITEMS].
        rng: Source of randomness.

    Returns:
        Item numbers, int array [MIN_TAKEN..MAX_TAKEN].
    """
    taken = rng.randint(MIN_TAKEN, MAX_TAKEN + 1)
    num_own = round(OWN_SHARE * taken)
    own = rng.permutation(np.flatnonzero(item_groups == group))[:num_own]
    other = rng.permutation(np.flatnonzero(item_groups != group))[: taken - num_own]
    return rng.permutation(np.concatenate([own, other]))


def inter_lines(
    user_groups: np.ndarray, item_groups: np.ndarray, rng: np.random.RandomState
) -> list[str]:
    """Builds the lines of ``planted.inter``, in the order of time."""
    rows = []
    for user, group in enumerate(user_groups):
        items = draw_items(group, item_groups, rng)
        # Below 2**24 seconds, so that float32 holds every timestamp exactly.
        times = rng.randint(30 * DAY) + np.cumsum(rng.randint(60, DAY, size=len(items)))
        rows += [(int(time), user, item) for time, item in zip(times, items, strict=True)]
    # Sorted by time, users interleave: the first items of the file come from all groups.
    lines = [f"u{user:03d}\ti{item:03d}\t{time}" for time, user, item in sorted(rows)]
    return ["user_id:token\titem_id:token\ttimestamp:float", *lines]


def item_lines(item_groups: np.ndarray, rng: np.random.RandomState) -> list[str]:
    """Builds the lines of ``planted.item``."""
    lines = ["item_id:token\ttitle:token_seq\tgenre:token_seq"]
    for item, group in enumerate(item_groups):
        genre = GROUPS[group]
        own = rng.permutation(GROUP_WORDS[genre])[:TITLE_GROUP_WORDS]
        common = rng.permutation(COMMON_WORDS)[:TITLE_COMMON_WORDS]
        title = " ".join(rng.permutation(np.concatenate([own, common])))
        lines.append(f"i{item:03d}\t{title}\t{genre}")
    return lines


def main() -> None:
    """Writes ``planted.inter`` and ``planted.item``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).parent / "planted",
        help="folder of the two files (default: planted, beside this script)",
    )
    output = parser.parse_args().output
    # RandomState, unlike default_rng, promises the same numbers in every release of numpy.
    rng = np.random.RandomState(SEED)
    user_groups = shuffled_groups(NUM_USERS, rng)
    item_groups = shuffled_groups(NUM_ITEMS, rng)
    files = {
        "planted.inter": inter_lines(user_groups, item_groups, rng),
        "planted.item": item_lines(item_groups, rng),
    }
    output.mkdir(parents=True, exist_ok=True)
    for name, lines in files.items():
        (output / name).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()

"""Items by user as sorted pairs, against sets."""

import numpy as np
import pytest

from recbole_diffusion.data import user_items
from recbole_diffusion.data.user_items import UserItems, spans

pytestmark = pytest.mark.compat

N_USERS, N_ITEMS = 40, 64


def drawn(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.integers(1, N_USERS - 2, n), rng.integers(1, N_ITEMS, n)


def as_set(pairs: UserItems) -> set[tuple[int, int]]:
    return set(zip(pairs.users.tolist(), pairs.items.tolist(), strict=True))


@pytest.mark.parametrize("most_slots", [2**26, 16])
@pytest.mark.parametrize("n", [0, 1, 500])
def test_pairs_are_those_of_a_set(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, n: int, most_slots: int
) -> None:
    """With few slots nearly all pairs share one with a pair that is there."""
    monkeypatch.setattr(user_items, "MOST_SLOTS", most_slots)
    users, items = drawn(rng, n)  # with repeats
    pairs = UserItems(users, items, N_USERS, N_ITEMS)
    expected = set(zip(users.tolist(), items.tolist(), strict=True))
    assert as_set(pairs) == expected
    assert len(pairs.users) == len(expected)
    asked = [a.ravel() for a in np.meshgrid(np.arange(N_USERS), np.arange(N_ITEMS), indexing="ij")]
    found = pairs.has(*asked)
    assert found.tolist() == [pair in expected for pair in zip(*map(np.ndarray.tolist, asked))]  # noqa: B905
    others = UserItems(*drawn(rng, 700), N_USERS, N_ITEMS)
    assert as_set(pairs.without(others)) == expected - as_set(others)


def test_items_of_some_users(rng: np.random.Generator) -> None:
    pairs = UserItems(*drawn(rng, 300), N_USERS, N_ITEMS)
    asked = np.array([7, 39, 0, 3, 7])  # one twice, two without any
    rows, items = pairs.of(asked)
    for row, user in enumerate(asked.tolist()):
        expected = sorted(item for u, item in as_set(pairs) if u == user)
        assert items[rows == row].tolist() == expected
    assert rows.tolist() == sorted(rows.tolist())
    assert set(rows.tolist()) == {0, 3, 4}


def test_spans_one_after_the_other() -> None:
    numbers, places = spans(np.array([5, 0, 9, 2]), np.array([7, 0, 10, 5]))
    assert numbers.tolist() == [0, 0, 2, 3, 3, 3]
    assert places.tolist() == [5, 6, 9, 2, 3, 4]

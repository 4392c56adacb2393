"""Sparse rows against dense matrices made by scipy and by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.data.recency import Recency
from recbole_diffusion.nn.rows import InteractionRows, history_rows, weighted_rows


def random_pairs(rng: np.random.Generator, n_users: int, n_items: int) -> tuple[np.ndarray, ...]:
    matrix = sp.random(n_users, n_items, density=0.2, random_state=rng, format="coo")
    order = rng.permutation(matrix.nnz)
    return matrix.row[order].astype(np.int64), matrix.col[order].astype(np.int64)


def linear(least: float, most: float) -> Recency:
    return Recency("linear", least=least, most=most)


@pytest.mark.parametrize("n_users", [1, 7, 40])
def test_rows_are_those_of_the_matrix(rng: np.random.Generator, n_users: int) -> None:
    users, items = random_pairs(rng, n_users, 30)
    dense = np.zeros((n_users, 30), dtype=np.float32)
    dense[users, items] = 1
    rows = InteractionRows(users, items, n_users)
    asked = torch.from_numpy(rng.integers(0, n_users, size=11))
    batch = rows.batch(asked)
    assert torch.equal(batch.dense(30), torch.from_numpy(dense[asked]))
    assert torch.equal(batch.lengths, torch.from_numpy(dense[asked].sum(axis=1).astype(np.int64)))
    weight = torch.randn(30, 5)
    torch.testing.assert_close(batch.product(weight), torch.from_numpy(dense[asked]) @ weight)


def test_normalized_rows_are_those_of_the_normalized_matrix(rng: np.random.Generator) -> None:
    users, items = random_pairs(rng, 9, 30)
    dense = np.zeros((9, 30))
    dense[users, items] = 1
    degrees = dense.sum(axis=0)
    scaled = dense / np.sqrt(np.outer(dense.sum(axis=1), degrees).clip(1))
    rows = InteractionRows(users, items, 9).batch(torch.arange(9))
    item_degrees = torch.from_numpy(degrees).float()
    found = rows.normalized(item_degrees).dense(30)
    torch.testing.assert_close(found, torch.from_numpy(scaled).float())
    assert (rows.values == 1).all()
    strange = history_rows([[3, 5, 7, 9]], 30).normalized(torch.zeros(30))
    assert strange.values.tolist() == [0.5] * 4


def test_empty_rows_and_batches() -> None:
    rows = InteractionRows(np.array([2, 2]), np.array([1, 3]), 4)
    batch = rows.batch(torch.tensor([0, 2, 0, 3]))
    assert batch.lengths.tolist() == [0, 2, 0, 0]
    assert batch.dense(5).nonzero().tolist() == [[1, 1], [1, 3]]
    assert batch.product(torch.ones(5, 2)).tolist() == [[0, 0], [2, 2], [0, 0], [0, 0]]
    assert rows.batch(torch.tensor([], dtype=torch.int64)).dense(5).shape == (0, 5)


def test_some_columns_in_another_order(rng: np.random.Generator) -> None:
    users, items = random_pairs(rng, 9, 30)
    batch = InteractionRows(users, items, 9, recency=linear(0.1, 1.0)).batch(
        torch.tensor([3, 0, 8, 3])
    )
    kept = torch.from_numpy(rng.permutation(30)[:12])
    place = torch.full((30,), -1)
    place[kept] = torch.arange(12)
    assert torch.equal(batch.columns(place).dense(12), batch.dense(30)[:, kept])
    nothing = batch.columns(torch.full((30,), -1))
    assert nothing.lengths.tolist() == [0, 0, 0, 0]


def test_rows_that_hold_an_item() -> None:
    rows = InteractionRows(np.array([2, 2, 0]), np.array([1, 3, 2]), 4)
    assert rows.non_empty(torch.tensor([3, 2, 1, 0, 2])).tolist() == [2, 0, 2]
    assert rows.non_empty(torch.tensor([3, 1])).tolist() == []


def test_values_follow_time_and_ties_the_order_given() -> None:
    users = np.array([1, 0, 1, 1, 0, 2])
    items = np.array([4, 1, 2, 3, 0, 2])
    times = np.array([5.0, 9.0, 5.0, 1.0, 8.0, 3.0])
    rows = InteractionRows(users, items, 4, times, linear(0.2, 1.0))
    dense = rows.batch(torch.arange(4)).dense(5).numpy()
    expected = np.zeros((4, 5))
    expected[1, [3, 4, 2]] = np.linspace(0.2, 1.0, 3)  # 4 before 2, as they stand
    expected[0, [0, 1]] = [0.2, 1.0]
    expected[2, 2] = 0.2  # a single one
    np.testing.assert_allclose(dense, expected, atol=1e-6)


def test_values_are_spaced_as_numpy_spaces_them() -> None:
    lengths = [1, 2, 5, 0, 9]
    offsets = torch.tensor(np.cumsum([0, *lengths]))
    batch = weighted_rows(torch.arange(sum(lengths)), offsets, linear(0.1, 0.7))
    expected = np.concatenate([np.linspace(0.1, 0.7, n) for n in lengths])
    np.testing.assert_allclose(batch.values.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("recency", "formula"),
    [
        (Recency(), lambda age: np.ones(len(age))),
        (Recency("power", 0.75), lambda age: (1.0 + age) ** -0.75),
        (Recency("exponential", 1 / 3), lambda age: np.exp(-age / 3)),
    ],
    ids=str,
)
def test_values_are_of_the_age(recency: Recency, formula: Callable[..., np.ndarray]) -> None:
    users, times = np.repeat([0, 1], [6, 1]), np.array([3.0, 1.0, 6.0, 2.0, 5.0, 4.0, 9.0])
    rows = InteractionRows(users, np.arange(7), 2, times, recency)
    dense = rows.batch(torch.arange(2)).dense(7).numpy()
    expected = np.zeros((2, 7))
    expected[0, :6], expected[1, 6] = formula(6 - times[:6]), 1
    np.testing.assert_allclose(dense, expected, rtol=1e-6)


def test_histories_are_rows() -> None:
    batch = history_rows([[3, 1], [], torch.tensor([2])], 4, linear(0.5, 1.0))
    dense = batch.dense(4)
    assert dense.tolist() == [[0, 1.0, 0, 0.5], [0, 0, 0, 0], [0, 0, 0.5, 0]]
    assert history_rows([], 4).dense(4).shape == (0, 4)


def test_rows_follow_the_module_and_stay_out_of_checkpoints() -> None:
    rows = InteractionRows(np.array([0]), np.array([0]), 1)
    assert rows.state_dict() == {}
    assert rows.to("meta").items.device.type == "meta"


@pytest.mark.parametrize("history", ["i3", None, [[1, 2]], [1.5], 3])
def test_a_history_is_a_list_of_whole_numbers(history: object) -> None:
    with pytest.raises(UserError, match="expected a list of internal ids"):
        history_rows([[1], history], 9)  # type: ignore[list-item]


def test_a_repeated_item_is_named_with_its_history() -> None:
    with pytest.raises(UserError, match="found item 7 twice in the one at place 1"):
        history_rows([[1, 2], [3, 7, 4, 7], [2]], 9)

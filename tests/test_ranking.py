"""The order of equal scores: one for every length of the list, batch and run."""

from typing import Any

import numpy as np
import pytest
import torch

from recbole_diffusion import run_recbole_diffusion
from recbole_diffusion.evaluation.ranking import _lots, ranked_items

N_ITEMS = 81


def expected_order(scores: np.ndarray) -> np.ndarray:
    """All columns but the padding, by score and then by lot."""
    n_items = scores.shape[1]
    lot = np.empty(n_items, dtype=np.int64)
    lot[_lots(n_items - 1).numpy() + 1] = np.arange(n_items - 1)
    return np.array([np.lexsort((lot[1:], -row[1:])) + 1 for row in scores])


@pytest.mark.parametrize("n_levels", [1, 2, 5, 1000])
@pytest.mark.parametrize("k", [1, 5, 20, 79, 80])
def test_against_a_sort_of_score_and_lot(rng: np.random.Generator, n_levels: int, k: int) -> None:
    scores = rng.integers(n_levels, size=(30, N_ITEMS)).astype(np.float32)
    scores[3, 40:] = -np.inf
    values, columns = ranked_items(torch.from_numpy(scores), k)
    assert np.array_equal(columns.numpy(), expected_order(scores)[:, :k])
    assert np.array_equal(values.numpy(), np.take_along_axis(scores, columns.numpy(), 1))


@pytest.mark.parametrize("n_items", [700, 703, 2001])
@pytest.mark.parametrize("n_levels", [1, 40, 3000, 10**9])
def test_wide_rows_against_a_sort(rng: np.random.Generator, n_levels: int, n_items: int) -> None:
    """Of which only some groups of columns are sorted, at each length of the list."""
    scores = rng.integers(n_levels, size=(25, n_items)).astype(np.float32)
    scores[3, 4:] = -np.inf
    scores[4, -3:] = n_levels + np.arange(3)  # beside the groups
    scores[5] = np.sort(scores[5])
    expected = expected_order(scores)
    for k in (1, 2, 10, 40, n_items - 1):
        values, columns = ranked_items(torch.from_numpy(scores), k)
        assert np.array_equal(columns.numpy(), expected[:, :k]), k
        assert np.array_equal(values.numpy(), np.take_along_axis(scores, columns.numpy(), 1))


@pytest.mark.parametrize("k", [1, 5, 40])
def test_not_a_number_ranks_first(rng: np.random.Generator, k: int) -> None:
    scores = torch.zeros(3, 2001)
    scores[1] = torch.from_numpy(rng.standard_normal(2001).astype(np.float32))
    scores[:2, 1999] = torch.nan
    assert ranked_items(scores, k)[0].isnan()[:, 0].tolist() == [True, True, False]


def test_a_row_ranks_alike_alone_and_among_others(rng: np.random.Generator) -> None:
    scores = torch.from_numpy(rng.integers(3, size=(40, N_ITEMS)).astype(np.float32))
    together = ranked_items(scores, 10)[1]
    alone = torch.cat([ranked_items(row[None], 10)[1] for row in scores])
    assert torch.equal(together, alone)


def test_a_metric_hangs_on_its_own_k_alone(write_dataset: Any, tmp_path: Any) -> None:
    """Counts of 60 users and 80 items have many equals."""
    draw = np.random.default_rng(3)
    rows = [("user_id:token", "item_id:token")]
    rows += [(f"u{u}", f"i{i}") for u in range(60) for i in draw.choice(80, 9, replace=False)]
    path = write_dataset("ties", inter=rows)
    keys = {"data_path": str(path), "output_dir": str(tmp_path), "show_progress": False}
    found = {
        run_recbole_diffusion(
            "Pop", "ties", (), {**keys, "topk": topk, "valid_metric": "Recall@5"}
        )["valid"]["recall@5"]
        for topk in ([5], [5, 10], [5, 20], [5, 60])
    }
    assert len(found) == 1

"""Parts of a split by ratio and leave-one-out, against RecBole's loops over users."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction

from recbole_diffusion.data.dataset import AtomicDataset
from recbole_diffusion.data.parts import last_sizes, parts_of_groups, ratio_sizes, rows_of
from recbole_diffusion.settings.config import Config

pytestmark = pytest.mark.compat
RATIOS = [[0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [8, 1, 1], [0.98, 0.01, 0.01], [1, 1, 1], [0.5, 0, 0.5]]


def loops() -> Any:
    """RecBole's own functions, which read no state."""
    return Dataset.__new__(Dataset)


def expected_parts(groups: np.ndarray, sizes_of: Any) -> list[list[int]]:
    parts: list[list[int]] = []
    for rows in loops()._grouped_index(groups):
        sizes = sizes_of(len(rows))
        parts = parts or [[] for _ in sizes]
        starts = np.cumsum([0, *sizes])
        for part, start, end in zip(parts, starts[:-1], starts[1:], strict=True):
            part.extend(rows[start:end])
    return parts


@pytest.mark.parametrize("ratios", RATIOS)
def test_ratio_sizes_are_recboles(ratios: list[float]) -> None:
    counts = np.arange(1, 400)
    shares = [ratio / sum(ratios) for ratio in ratios]
    cuts = np.array([loops()._calcu_split_ids(n, shares) for n in counts])
    bounds = np.column_stack([np.zeros_like(counts), cuts, counts])
    np.testing.assert_array_equal(ratio_sizes(ratios)(counts), np.diff(bounds, axis=1).T)


@pytest.mark.parametrize("ratios", RATIOS)
def test_rows_of_groups_keep_their_order(ratios: list[float], rng: np.random.Generator) -> None:
    groups = (30 * rng.random(500) ** 3).astype(np.int64)
    rule = ratio_sizes(ratios)
    found = parts_of_groups(groups, rule)
    assert [part.tolist() for part in found] == expected_parts(
        groups, lambda n: rule(np.array([n]))[:, 0]
    )


@pytest.mark.parametrize("n_parts", [2, 3])
def test_the_last_rows_are_left_out(n_parts: int, rng: np.random.Generator) -> None:
    groups = np.concatenate([(30 * rng.random(200) ** 3).astype(np.int64), [31, 32, 32]])
    expected = loops()._split_index_by_leave_one_out(loops()._grouped_index(groups), n_parts - 1)
    found = parts_of_groups(groups, last_sizes(n_parts))
    assert [part.tolist() for part in found] == expected


@pytest.mark.parametrize("mode", ["valid_only", "test_only"])
def test_a_part_may_be_empty(mode: str) -> None:
    inter = Interaction({"u": torch.tensor([1, 1, 2, 2]), "i": torch.tensor([1, 2, 3, 4])})
    data = AtomicDataset.__new__(AtomicDataset)
    vars(data).update(inter_feat=inter, config={"unused_col": None})
    parts = data.leave_one_out("u", mode)
    sizes = {"valid_only": [2, 2, 0], "test_only": [2, 0, 2]}[mode]
    assert [len(part.inter_feat["i"]) for part in parts] == sizes


@pytest.mark.parametrize("core", ["[3,inf)", "(2,9)", "[1,4];[8,20]"])
def test_filters_by_number_are_recboles(core: str, rng: np.random.Generator) -> None:
    pairs = np.unique((12 * rng.random((70, 2)) ** 2).astype(int), axis=0)
    frame = pd.DataFrame(pairs, columns=["u", "i"]).astype(str)
    keys = {"user_inter_num_interval": core, "item_inter_num_interval": "[2,inf)"}
    kept = []
    for kind in (Dataset, AtomicDataset):
        data = kind.__new__(kind)
        logger = SimpleNamespace(debug=print, warning=print)
        vars(data).update(inter_feat=frame.copy(), user_feat=None, item_feat=None, logger=logger)
        vars(data).update(uid_field="u", iid_field="i", config=keys)
        data._filter_by_inter_num()
        kept.append(data.inter_feat.reset_index(drop=True))
    assert 0 < len(kept[0]) < len(frame)
    pd.testing.assert_frame_equal(*kept)


def test_rows_are_chosen_by_arrays_tensors_and_lists() -> None:
    inter = Interaction({"u": torch.arange(5), "x": torch.rand(5, 2)})
    for places in ([3, 1], np.array([3, 1]), torch.tensor([3, 1])):
        rows = rows_of(inter, places)
        assert torch.equal(rows["x"], inter["x"][[3, 1]])
        assert rows["u"].tolist() == [3, 1]


@pytest.mark.parametrize("row", ["user", "item"])
@pytest.mark.parametrize("length", [None, 3])
def test_padded_histories_are_recboles(row: str, length: int | None, planted: Any) -> None:
    data = AtomicDataset(Config("BPR", "planted", (), planted)).build()[0]
    matrices = []
    for kind in (Dataset, AtomicDataset):
        torch.manual_seed(3)
        matrices.append(kind._history_matrix(data, row, None, length))
    for found, expected in zip(*matrices, strict=True):
        assert torch.equal(found, expected)

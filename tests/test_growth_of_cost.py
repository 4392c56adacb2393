"""The scripts that measure how costs grow: made data, parts of epochs, fitted exponents."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def _with_benchmarks(monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for name in (
        "growth",
        "growth_page",
        "synthetic",
        "taking_turns",
        "diffrec_inference",
        "operations",
    ):
        sys.modules.pop(name, None)


def test_the_exponent_is_the_slope_of_the_logarithms():
    from growth import Size
    from growth_page import exponent

    sizes = [Size(10**5, 10**4), Size(10**6, 10**4), Size(10**7, 10**4)]
    trains = [80_000, 810_000, 8_300_000]
    cells = {
        ("A", size): {"train": n, "epoch_seconds": 3e-9 * n**1.5}
        for size, n in zip(sizes, trains, strict=True)
    }
    assert exponent(cells, "A", sizes) == pytest.approx(1.5)
    assert exponent(cells, "A", sizes[:1]) is None
    assert exponent(cells, "B", sizes) is None


def test_popularity_falls_as_the_power_of_the_rank():
    from synthetic import power_law

    exponent, size, n = 0.75, 10_000, 400_000
    ranks = power_law(np.random.default_rng(0), size, exponent, n)
    for least, most in ((0, 10), (10, 100), (1000, 10_000)):
        expected = (most / size) ** (1 - exponent) - (least / size) ** (1 - exponent)
        found = ((ranks >= least) & (ranks < most)).mean()
        assert found == pytest.approx(expected, abs=4 * np.sqrt(0.25 / n))


def test_made_data_have_all_users_and_items_once_a_pair(tmp_path):
    from synthetic import write_power_law

    write_power_law(tmp_path, "made", n_users=50, n_items=200, n_interactions=1000, width=4)
    table = pd.read_csv(tmp_path / "made" / "made.inter", sep="\t")
    assert len(table) == 1000
    assert not table.duplicated(["user_id:token", "item_id:token"]).any()
    assert table["timestamp:float"].is_unique
    assert table["user_id:token"].nunique() == 50
    assert table["item_id:token"].nunique() == 200
    assert table.groupby("user_id:token").size().min() >= 2
    with np.load(tmp_path / "made" / "items.npz", allow_pickle=False) as vectors:
        assert vectors["matrix"].shape == (200, 4)


def test_an_epoch_cut_short_is_scaled_by_its_batches(monkeypatch):
    import growth

    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(growth.time, "process_time", lambda: clock.now)

    class Trainer:
        is_solved = False

        def _train_epoch(self, batches, epoch):
            clock.now += 5.0  # before the batches
            for _ in batches:
                clock.now += 2.0

    seconds, share = growth.epoch_of(Trainer(), range(100), seconds=9.0)
    assert share == 0.05
    assert seconds == 5.0 + 100 * 2.0
    seconds, share = growth.epoch_of(Trainer(), range(3), seconds=9.0)
    assert share == 1.0
    assert seconds == 5.0 + 3 * 2.0


def test_a_size_that_was_too_large_is_not_tried_again(tmp_path):
    from growth import SIZES, cell_path, foregone

    from recbole_diffusion.base.files import write_json

    (tmp_path / "cells").mkdir()
    small, same_items, more_items = SIZES[:3]
    write_json(cell_path(tmp_path, "A", same_items), {"status": "too large"})
    assert foregone(tmp_path, "A", small) is None
    assert foregone(tmp_path, "B", more_items) is None
    assert "too large at 1000000 x 10000" in foregone(tmp_path, "A", more_items)["reason"]
    write_json(cell_path(tmp_path, "A", same_items), {"status": "measured"})
    assert foregone(tmp_path, "A", more_items) is None


def test_operations_are_those_of_the_shapes():
    from operations import CountedOperations

    def products(calculate):
        with CountedOperations() as counted:
            calculate()
        return counted.products

    a, b = torch.rand(3, 4, requires_grad=True), torch.rand(4, 5, requires_grad=True)
    table, sparse = torch.rand(10, 7, requires_grad=True), torch.eye(4)
    places, bags = torch.tensor([1, 2, 3]), torch.tensor([0, 1])

    def bag():
        return torch.nn.functional.embedding_bag(places, table, bags, mode="sum")

    assert products(lambda: a @ b) == 2 * 3 * 4 * 5
    assert products(lambda: (a @ b).sum().backward()) == 3 * 2 * 3 * 4 * 5
    assert products(lambda: torch.nn.functional.linear(a, b.T, b[0])) == 2 * 3 * 4 * 5
    assert products(lambda: torch.rand(2, 3, 4) @ torch.rand(2, 4, 3)) == 2 * 2 * 3 * 3 * 4
    assert products(lambda: torch.sparse.mm(sparse.to_sparse_csr(), b)) == 2 * 4 * 5
    assert products(lambda: torch.sparse.mm(sparse.to_sparse(), b).sum().backward()) == 4 * 4 * 5
    assert products(lambda: bag().sum().backward()) == 2 * 2 * 3 * 7
    with CountedOperations() as counted:
        (a + 1).relu()
    assert (counted.products, counted.others) == (0, 24)

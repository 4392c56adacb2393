"""Negatives by popularity, in training and in sampled evaluation: train counts, each its own alpha.

How they are drawn, against the plain host, is in ``tests/test_compat.py``; here RecBole's own
``create_samplers``, which no patch touches, stands for the plain host.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recbole.data.utils import create_samplers

from recbole_diffusion.data.split import Split, _make_samplers, load_split
from recbole_diffusion.settings.config import Config

pytestmark = pytest.mark.compat

HEAD = ["user_id:token", "item_id:token"]
# Train has a 4 times, b 3 times, c once; d and e are in the other parts only.
GIVEN = {
    "train__inter": [*([f"u{n}", "a"] for n in range(4)), *([f"u{n}", "b"] for n in (1, 4, 5))],
    "valid__inter": [[f"u{n}", "d"] for n in range(5)],
    "test__inter": [[f"u{n}", "e"] for n in range(6)],
}
GIVEN["train__inter"].append(["u6", "c"])
COUNTS = {"a": 4, "b": 3, "c": 1}
SMALL = {"topk": [1], "valid_metric": "Recall@1", "show_progress": False}
N_DRAWS = 20000


def settings(
    write_dataset: Callable[..., Path], mode: str = "pop2", alpha: float = 0.5, **keys: Any
) -> Config:
    path = write_dataset("mine", **{name: [HEAD, *rows] for name, rows in GIVEN.items()})
    negatives = {"distribution": "popularity", "sample_num": 1, "alpha": alpha}
    given = {
        "data_path": str(path),
        "benchmark_filename": ["train", "valid", "test"],
        "train_neg_sample_args": negatives,
        "eval_args": {"mode": mode},
        **SMALL,
        **keys,
    }
    return Config("BPR", "mine", (), given)


def shares(split: Split, sampler: Any) -> dict[str, float]:
    np.random.seed(3)
    ids, counts = np.unique(sampler.draw(np.zeros(N_DRAWS, np.int64), 1), return_counts=True)
    items = split.dataset.field2id_token["item_id"][ids]
    return dict(zip(items.tolist(), (counts / N_DRAWS).tolist(), strict=True))


def expected_shares(alpha: float) -> dict[str, float]:
    total = sum(count**alpha for count in COUNTS.values())
    return {item: count**alpha / total for item, count in COUNTS.items()}


@pytest.mark.parametrize("alpha", [0.0, 0.5, 2.0])
def test_each_phase_draws_train_items_by_its_own_alpha(
    write_dataset: Callable[..., Path], alpha: float
) -> None:
    split = load_split(settings(write_dataset, alpha=alpha))
    for loader, own_alpha in ((split.train, alpha), (split.valid, 1.0), (split.test, 1.0)):
        found = shares(split, loader._sampler)
        assert found == pytest.approx(expected_shares(own_alpha), abs=0.015)  # 4 deviations
        assert loader._sampler.phase in ("train", "valid", "test")


def test_host_gives_evaluations_the_alpha_of_training(
    write_dataset: Callable[..., Path],
) -> None:
    config = settings(write_dataset, alpha=2.0)
    split = load_split(config)
    parts = [loader._dataset for loader in (split.train, split.valid, split.test)]
    samplers = create_samplers(config, split.dataset, parts)
    assert [sampler.alpha for sampler in samplers] == [2.0, 2.0, 2.0]
    assert [loader._sampler.alpha for loader in (split.train, split.valid, split.test)] == [2, 1, 1]


@pytest.mark.parametrize(
    ("train", "mode", "kinds"),
    [
        ("uniform", "pop2", ["uniform", "popularity", "popularity"]),
        ("popularity", "full", ["popularity", None, None]),
        (None, "full", [None, None, None]),
    ],
)
def test_a_phase_keeps_its_distribution(
    write_dataset: Callable[..., Path], train: str | None, mode: str, kinds: list[str | None]
) -> None:
    negatives = {"distribution": train, "sample_num": 1}
    split = load_split(settings(write_dataset))
    parts = [loader._dataset for loader in (split.train, split.valid, split.test)]
    for own in ("vectorised", "recbole"):
        keys = {"train_neg_sample_args": negatives, "negative_sampler": own}
        config = settings(write_dataset, mode=mode, **keys)
        samplers = _make_samplers(config, parts, has_cold_items=False)
        assert [sampler and sampler.distribution for sampler in samplers] == kinds

"""A planted set where only the order decides: A before B is followed by others than B before A."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbole_diffusion import run_recbole_diffusion

HEAD = ("user_id:token", "item_id:token", "timestamp:float")
N_GROUPS, N_OUTCOMES, N_TAUGHT, N_ASKED = 8, 11, 16, 4
SMALL: dict[str, Any] = {
    "topk": [10], "valid_metric": "Recall@10", "show_progress": False, "state": "WARNING",
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "benchmark_filename": ["train", "valid", "test"], "learning_rate": 0.01,
    "train_batch_size": 32, "epochs": 40, "eval_step": 5,
}  # fmt: skip


@pytest.fixture
def planted_order(write_dataset: Callable[..., Path], tmp_path: Path) -> dict[str, Any]:
    """Settings of a run: the first two items of a history tell what follows, by their order."""
    draw = np.random.default_rng(1)
    rows: dict[str, list[tuple[str, ...]]] = {"train": [], "valid": [], "test": []}

    def history(group: int, is_turned: bool, n_outcomes: int) -> list[str]:
        pair = ["B", "A"] if is_turned else ["A", "B"]
        kind = "D" if is_turned else "C"
        wanted = draw.choice(N_OUTCOMES, n_outcomes, replace=False)
        return [*(f"{x}{group}" for x in pair), *(f"{kind}{group}.{i}" for i in wanted)]

    for group in range(N_GROUPS):
        for is_turned in (False, True):
            for user in range(N_TAUGHT):
                items = history(group, is_turned, 4)
                rows["train"] += [
                    (f"t{group}.{is_turned}.{user}", item, str(t)) for t, item in enumerate(items)
                ]
            for user in range(N_ASKED):
                items = history(group, is_turned, 2)
                for t, item in enumerate(items):
                    part = ("train", "train", "valid", "test")[t]
                    rows[part].append((f"u{group}.{is_turned}.{user}", item, str(t)))
    parts = {f"{name}__inter": [HEAD, *own] for name, own in rows.items()}
    shuffled = [(u, i, str(draw.random())) for u, i, _ in rows["train"]]
    write_dataset("shuffled", **{**parts, "train__inter": [HEAD, *shuffled]})
    path = write_dataset("ordered", **parts)
    return {**SMALL, "data_path": str(path), "output_dir": str(tmp_path / "runs")}


def recall(keys: dict[str, Any], model: str, dataset: str = "ordered", **changes: Any) -> float:
    settings = {**keys, **changes}
    return run_recbole_diffusion(model, dataset, config_dict=settings)["test"]["recall@10"]


def test_order_decides(planted_order: dict[str, Any]) -> None:
    keys = {"embedding_size": 32, "epochs": 10}
    found = recall(planted_order, "PrefixDiff", **keys)
    assert found > 0.8
    assert found > 1.5 * recall(planted_order, "PrefixDiff", "shuffled", **keys)


def test_views_by_age_read_the_order(planted_order: dict[str, Any]) -> None:
    keys = {"denoiser": "views", "hidden_sizes": [64], "dropout": 0.0, "epochs": 40}
    found = recall(planted_order, "PrefixDiff", **keys)
    assert found > 0.8
    assert found > 1.5 * recall(planted_order, "PrefixDiff", views=[["none", 0.0]], **keys)


@pytest.mark.parametrize(
    ("model", "keys"),
    [("SASRec", {"epochs": 10}), ("GRU4Rec", {"hidden_size": 64, "epochs": 20})],
)
def test_encoders_read_the_order(
    planted_order: dict[str, Any], model: str, keys: dict[str, Any]
) -> None:
    assert recall(planted_order, model, embedding_size=32, **keys) > 0.8


def test_models_of_sets_fail(planted_order: dict[str, Any]) -> None:
    assert recall(planted_order, "LinDiffRec") < 0.6
    assert recall(planted_order, "TDiffRec", hidden_sizes=[32], epochs=50) < 0.6

"""RecBole's linear models with weights by age, against their own matrices in NumPy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_diffusion import evaluate_run, run_recbole_diffusion
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.runs.run import Run
from recbole_diffusion.settings.config import Config

N_ITEMS = 20
OWN: dict[str, dict[str, Any]] = {
    "EASE": {"reg_weight": 5.0}, "ItemKNN": {"k": 8},
    "SLIMElastic": {"alpha": 0.01, "l1_ratio": 0.1},
}  # fmt: skip


@pytest.fixture
def keys(write_dataset: Callable[..., Path], tmp_path: Path) -> dict[str, Any]:
    draw = np.random.default_rng(3)
    rows = [("user_id:token", "item_id:token", "timestamp:float")]
    for user in range(30):
        items = draw.choice(N_ITEMS, 8, replace=False)
        times = draw.permutation(8)
        rows += [(f"u{user}", f"i{i}", str(t)) for i, t in zip(items, times, strict=True)]
    return {
        "data_path": str(write_dataset("timed", inter=rows)), "output_dir": str(tmp_path / "runs"),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "topk": [5],
        "valid_metric": "Recall@5", "show_progress": False,
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO"},
    }  # fmt: skip


def scores_of(model: Any, n_users: int) -> np.ndarray:
    found = model.full_sort_predict({"user_id": torch.arange(n_users)})
    return found.reshape(n_users, -1).numpy()


@pytest.mark.parametrize("model", OWN)
def test_scores_are_the_weighted_rows_times_the_plain_matrix(
    keys: dict[str, Any], model: str
) -> None:
    """What is solved stays as it is."""
    keys |= OWN[model]
    plain = Run(Config(model, "timed", (), keys))
    data = plain.split.train._dataset
    matrix = plain.network.w if model == "ItemKNN" else plain.network.item_similarity
    matrix = matrix if isinstance(matrix, np.ndarray) else matrix.toarray()
    feat = data.inter_feat
    rows = np.zeros((data.user_num, data.item_num))
    for user in range(data.user_num):
        own = np.flatnonzero(feat["user_id"].numpy() == user)
        by_time = own[np.argsort(feat["timestamp"].numpy()[own])]
        age = np.arange(len(own))[::-1]
        rows[user, feat["item_id"].numpy()[by_time]] = (1.0 + age) ** -0.5
    timed = Run(Config(model, "timed", (), {**keys, "recency": "power", "recency_decay": 0.5}))
    found = scores_of(timed.network, data.user_num)
    np.testing.assert_allclose(found, rows @ matrix, atol=1e-5)
    assert np.abs(found - scores_of(plain.network, data.user_num)).max() > 0.01


@pytest.mark.parametrize("model", OWN)
def test_a_saved_run_keeps_its_weights(keys: dict[str, Any], model: str) -> None:
    keys |= {**OWN[model], "recency": "exponential", "recency_decay": 1.0}
    result = run_recbole_diffusion(model, "timed", config_dict=keys)
    again = evaluate_run(result["run_folder"])
    assert (again["valid"], again["test"]) == (result["valid"], result["test"])


@pytest.mark.parametrize(
    ("model", "changes", "words"),
    [
        ("BPR", {"recency": "power"}, ["`recency`", "'power'", "EASE, ItemKNN, SLIMElastic"]),
        ("EASE", {"recency": "cubic"}, ["`recency`", "'cubic'", "exponential"]),
        ("DiffRec", {"recency": "power"}, ["`recency`", "TDiffRec"]),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(
    keys: dict[str, Any], model: str, changes: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(UserError) as error:
        Config(model, "timed", (), {**keys, **changes})
    assert [word for word in words if word not in str(error.value)] == [], str(error.value)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, "power"),
        ({"eval_args": {"split": {"RS": [0.6, 0.2, 0.2]}, "order": "RO"}}, "none"),
        ({"recency": "none"}, "none"),
        ({"recency": "exponential"}, "exponential"),
    ],
    ids=str,
)
def test_recency_is_found_where_what_is_held_out_is_later(
    keys: dict[str, Any], changes: dict[str, Any], kind: str
) -> None:
    run = Run(Config("LinDiffRec", "timed", (), {**keys, **changes}))
    assert run.network.recency.kind == kind


@pytest.mark.parametrize(("columns", "kind"), [(3, "power"), (2, "none")])
def test_recency_of_a_given_split_is_found_by_its_times(
    keys: dict[str, Any], write_dataset: Callable[..., Path], columns: int, kind: str
) -> None:
    head = ("user_id:token", "item_id:token", "timestamp:float")[:columns]
    rows = [(f"u{u}", f"i{i}", str(i))[:columns] for u in range(6) for i in range(u, u + 5)]
    parts = {name: [head, *rows[k::3]] for k, name in enumerate(("train", "valid", "test"))}
    path = write_dataset("given", **{f"{name}__inter": own for name, own in parts.items()})
    keys |= {"data_path": str(path), "benchmark_filename": [*parts], "eval_args": {}}
    keys["load_col"] = {"inter": [name.split(":")[0] for name in head]}
    assert Run(Config("LinDiffRec", "given", (), keys)).network.recency.kind == kind

"""Evaluation in batches of many users, against metrics computed one user at a time in numpy."""

from typing import Any

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.evaluator import metric_types, metrics_dict
from recbole.utils import EvaluatorType

from recbole_diffusion.base.randomness import seed_everything
from recbole_diffusion.data.full_sort import BYTES_PER_SCORE, users_per_batch
from recbole_diffusion.data.split import Split, load_split
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.evaluation_keys import RANKING, WITHOUT_CUTOFF

TOPK = (1, 10, 20, 50)


def test_metrics_that_settings_know_are_the_hosts() -> None:
    ranking = [name for name, kind in metric_types.items() if kind == EvaluatorType.RANKING]
    assert sorted(ranking) == list(RANKING)
    config = {"topk": [5], "metric_decimal_place": 4, "tail_ratio": 0.1}
    without = [name for name in RANKING if not hasattr(metrics_dict[name](config), "topk")]
    assert without == [WITHOUT_CUTOFF]


@pytest.mark.parametrize(
    ("users", "megabytes", "n_items", "expected"),
    [
        (None, 64, 1000, 64 * 2**20 // (BYTES_PER_SCORE * 1000)),
        (None, 1, 2**20 // BYTES_PER_SCORE, 1),
        (None, 1, 2**20 // BYTES_PER_SCORE // 2, 2),
        (None, 1, 2**20 // BYTES_PER_SCORE // 2 + 1, 1),
        (None, 0.5, 1024, 32),
        (None, 1, 10**9, 1),
        (None, None, 1000, 64 * 2**20 // (BYTES_PER_SCORE * 1000)),
        (7, 64, 10**9, 7),
        (1, 64, 10, 1),
    ],
)
def test_users_per_batch(
    users: int | None, megabytes: float | None, n_items: int, expected: int
) -> None:
    found = users_per_batch({"eval_batch_users": users, "eval_memory_mb": megabytes}, n_items)
    assert found == expected
    assert type(found) is int


def test_a_batch_fits_the_budget() -> None:
    """Four float32 or int32 arrays per user and item, as the host keeps alive."""
    for n_items in (1, 151, 2421, 100_000):
        users = users_per_batch({"eval_batch_users": None, "eval_memory_mb": 8}, n_items)
        assert users * n_items * 4 * 4 <= 8 * 2**20 < (users + 1) * n_items * 4 * 4


class Run:
    """A model of the host, untrained but seeded, with its split and trainer."""

    def __init__(self, planted: dict[str, Any], folder: Any, model: str, **keys: Any) -> None:
        metrics = {"topk": list(TOPK), "metrics": ["Recall", "NDCG", "Hit", "MRR"]}
        self.config = Config(model, "planted", (), {**planted, **metrics, **keys})
        seed_everything(5)
        self.split: Split = load_split(self.config)
        self.config["split_hash"] = self.split.digest
        self.config["checkpoint_dir"] = str(folder)
        self.model = self.config.model_class(self.config, self.split.train._dataset)
        self.trainer = self.config.registration.trainer_class(self.config, self.model)

    def evaluate(self, part: str) -> dict[str, float]:
        self.trainer.eval_collector.data_collect(self.split.train)
        return dict(self.trainer.evaluate(getattr(self.split, part), load_best_model=False))


@pytest.fixture
def make_run(planted: dict[str, Any], tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)  # the host's TensorBoard folder
    return lambda model, **keys: Run(planted, tmp_path, model, **keys)


def pairs(loader: Any) -> dict[int, set[int]]:
    """Items of each user in one part of the split."""
    data = loader._dataset.inter_feat
    found: dict[int, set[int]] = {}
    for user, item in zip(data["user_id"].tolist(), data["item_id"].tolist(), strict=True):
        found.setdefault(user, set()).add(item)
    return found


def metrics_by_hand(run: Run, part: str) -> dict[str, float]:
    """Mean over the users of the part; all that a user met in another part is left out."""
    parts = {name: pairs(getattr(run.split, name)) for name in ("train", "valid", "test")}
    users = sorted(parts[part])
    run.model.eval()
    with torch.no_grad():
        rows = run.model.full_sort_predict(Interaction({"user_id": torch.tensor(users)}))
    scores = rows.reshape(len(users), -1).double().numpy().copy()
    per_user: dict[str, list[float]] = {}
    for row, user in enumerate(users):
        relevant = parts[part][user]
        seen = set().union(*(parts[p].get(user, set()) for p in before(part)))
        scores[row, [0, *(seen - relevant)]] = -np.inf
        ranked = np.argsort(-scores[row], kind="stable")
        hits = np.array([item in relevant for item in ranked], dtype=float)
        for k in TOPK:
            gains = hits[:k] / np.log2(np.arange(2, k + 2))
            ideal = (1 / np.log2(np.arange(2, min(k, len(relevant)) + 2))).sum()
            first = np.flatnonzero(hits[:k])
            values = {
                "recall": hits[:k].sum() / len(relevant),
                "ndcg": gains.sum() / ideal,
                "hit": float(hits[:k].any()),
                "mrr": 1 / (first[0] + 1) if len(first) else 0.0,
            }
            for name, value in values.items():
                per_user.setdefault(f"{name}@{k}", []).append(value)
    return {name: float(np.mean(values)) for name, values in per_user.items()}


def before(part: str) -> tuple[str, ...]:
    return {"valid": ("train",), "test": ("train", "valid")}[part]


@pytest.mark.compat
@pytest.mark.parametrize("part", ["valid", "test"])
@pytest.mark.parametrize("model", ["BPR", "LightGCN", "EASE", "MultiVAE"])
def test_metrics_equal_those_by_hand(make_run: Any, model: str, part: str) -> None:
    run = make_run(model)
    found, expected = run.evaluate(part), metrics_by_hand(run, part)
    assert set(found) == set(expected)
    assert 0.1 < expected["recall@50"] < 1
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name


@pytest.mark.parametrize("model", ["BPR", "EASE"])
def test_metrics_do_not_depend_on_the_batch_size(make_run: Any, model: str) -> None:
    found = {}
    for users in (1, 7, 200, None):
        found[users] = make_run(model, eval_batch_users=users).evaluate("test")
    assert found[1]["recall@20"] > 0
    for users, result in found.items():
        for name, value in result.items():
            assert value == pytest.approx(found[1][name], abs=1e-12), (users, name)


@pytest.mark.parametrize(
    ("keys", "sizes"),
    [
        ({"eval_batch_users": 64}, [64, 64, 64, 8]),
        ({"eval_batch_users": 200}, [200]),
        ({}, [200]),
        ({"eval_memory_mb": 1}, [200]),
        ({"eval_batch_size": 151}, [200]),  # the host's budget of scores, one user's worth
    ],
)
def test_batches_of_the_loader_hold_that_many_users(
    make_run: Any, keys: dict[str, Any], sizes: list[int]
) -> None:
    run = make_run("BPR", **keys)
    for part in ("valid", "test"):
        batches = list(getattr(run.split, part))
        assert [len(users) for users, *_ in batches] == sizes
        seen = torch.cat([users["user_id"] for users, *_ in batches])
        assert torch.equal(seen, torch.arange(1, 201))


def test_model_is_asked_in_those_batches(make_run: Any) -> None:
    run, asked = make_run("BPR", eval_batch_users=150), []
    predict = run.model.full_sort_predict

    def count(interaction: Any) -> torch.Tensor:
        asked.append(len(interaction))
        return predict(interaction)

    run.model.full_sort_predict = count
    run.evaluate("valid")
    assert asked == [150, 50]


def test_smaller_budget_gives_smaller_batches(make_run: Any) -> None:
    share = users_per_batch({"eval_batch_users": None, "eval_memory_mb": 1}, 151) / 50
    sizes = [len(b[0]) for b in make_run("BPR", eval_memory_mb=1 / share).split.valid]
    assert sizes == [50, 50, 50, 50]

"""Metrics among warm and cold items, against scores and ranks in plain numpy."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cold_tools import make_cold_data

from recbole_diffusion import evaluate_run, resume_run, run_recbole_diffusion
from recbole_diffusion.evaluation.collector import RankingCollector
from recbole_diffusion.evaluation.metrics import ExactEvaluator
from recbole_diffusion.runs.quick_start import saved_run
from recbole_diffusion.settings.config import Config

COLD = "Recall@10 (cold)"


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, Any]:
    return make_cold_data(tmp_path, n_unmet=24)


def expected_metrics(
    scores: np.ndarray, wanted: list[set[int]], is_in: np.ndarray, k: int
) -> tuple[float, float]:
    """Recall and NDCG of users who want an item of a group, ranked among those of it."""
    recall, ndcg = [], []
    for row, items in zip(scores, wanted, strict=True):
        own = {item for item in items if is_in[item]}
        if own:
            candidates = np.flatnonzero(is_in & (row > -np.inf))
            ranked = candidates[np.argsort(-row[candidates])][:k]
            hits = np.array([item in own for item in ranked])
            gains = 1 / np.log2(np.arange(2, k + 2))
            recall.append(hits.sum() / len(own))
            ndcg.append(gains[: len(hits)][hits].sum() / gains[: min(k, len(own))].sum())
    return float(np.mean(recall)), float(np.mean(ndcg))


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_groups_are_ranked_among_themselves(rng: np.random.Generator, batch: int) -> None:
    """Some users want warm items alone, some cold ones alone, and some candidates are masked."""
    n_users, n_items = 40, 30
    keys = {"topk": [3, 20], "valid_metric": "Recall@3", "metrics": ["Recall", "NDCG"]}
    config = Config("BPR", "planted", (), {"data_path": "dataset_atomic", **keys})
    scores = rng.permuted(np.arange(n_users * n_items)).reshape(n_users, n_items).astype(np.float32)
    scores[:, 0] = -np.inf
    wanted = []
    for user in range(n_users):
        pool = [range(1, 30), range(1, 18), range(18, 30)][user % 3]
        items = rng.choice(list(pool), rng.integers(1, 6), replace=False).tolist()
        wanted.append(set(items))
        masked = [i for i in rng.choice(np.arange(1, n_items), 6) if i not in wanted[user]]
        scores[user, masked] = -np.inf
    cold = np.arange(n_items) >= 18
    groups = {"warm": ~cold & (np.arange(n_items) > 0), "cold": cold}
    collector = RankingCollector(config)
    collector.item_groups = {name: torch.from_numpy(is_in) for name, is_in in groups.items()}
    for start in range(0, n_users, batch):
        rows = [(u, i) for u, items in enumerate(wanted[start : start + batch]) for i in items]
        users, items = map(torch.tensor, zip(*rows, strict=True))
        block = torch.from_numpy(scores[start : start + batch].copy())
        collector.eval_batch_collect(block, None, users, items)
    found = ExactEvaluator(config).evaluate(collector.get_data_struct())
    for name, is_in in groups.items():
        for k in (3, 20):
            recall, ndcg = expected_metrics(scores, wanted, is_in, k)
            assert found[f"recall@{k} ({name})"] == pytest.approx(recall, abs=1e-12)
            assert found[f"ndcg@{k} ({name})"] == pytest.approx(ndcg, abs=1e-12)
    everything = expected_metrics(scores, wanted, np.arange(n_items) > 0, 3)
    assert (found["recall@3"], found["ndcg@3"]) == pytest.approx(everything)


def wanted_and_masked(run: Any) -> tuple[list[int], list[set[int]], list[set[int]]]:
    """Users of the test part, their items there, and those of the parts before."""
    pairs = [
        list(zip(*(part.inter_feat[f].tolist() for f in ("user_id", "item_id")), strict=True))
        for part in (
            loader._dataset for loader in (run.split.train, run.split.valid, run.split.test)
        )
    ]
    users = sorted({user for user, _ in pairs[2]})
    wanted = [{item for u, item in pairs[2] if u == user} for user in users]
    before = [{item for u, item in pairs[0] + pairs[1] if u == user} for user in users]
    return users, wanted, before


def test_a_run_measures_what_its_scores_say(keys: dict[str, Any], tmp_path: Path) -> None:
    keys |= {"keep_cold_items": True, "valid_metric": COLD}
    result = run_recbole_diffusion("LinDiffRec", "made", config_dict=keys)
    run, _ = saved_run(result["run_folder"])
    users, wanted, before = wanted_and_masked(run)
    with torch.no_grad():
        scores = run.network.full_sort_predict({"user_id": torch.tensor(users)}).numpy().copy()
    for row, items in zip(scores, before, strict=True):
        row[[0, *items]] = -np.inf
    warm = run.split.train._dataset.inter_feat["item_id"].unique().numpy()
    cold = np.ones(scores.shape[1], bool)
    cold[[0, *warm]] = False
    assert result["cold_items"] == cold.sum() == 64 + 24
    assert result["scores_cold_items"] is True
    for k in (5, 10):
        recall, ndcg = expected_metrics(scores, wanted, cold, k)
        assert result["test"][f"recall@{k} (cold)"] == pytest.approx(recall)
        assert result["test"][f"ndcg@{k} (cold)"] == pytest.approx(ndcg)
    assert not [name for name in result["test"] if "(warm)" in name]  # nobody wants one there
    again = evaluate_run(result["run_folder"])
    assert again["test"] == result["test"]
    log = Path(result["run_folder"], "run.log").read_text()
    assert "cold items, without train interactions: 88; the model scores them" in log
    assert re.search(r"recall@10 \(cold\) +0\.\d{4} +0\.\d{4}\n", log)


def test_what_cannot_be_scored_is_never_ranked(keys: dict[str, Any]) -> None:
    """With items of a random split kept that nobody has met: metrics of warm items alone."""
    keys |= {"keep_cold_items": True, "epochs": 2, "eval_args": {"split": {"RS": [8, 1, 1]}}}
    result = run_recbole_diffusion("BPR", "made", config_dict=keys)
    assert result["cold_items"] >= 24
    assert result["scores_cold_items"] is False
    run, trainer = saved_run(result["run_folder"])
    with trainer.eval_collector.keeping_rankings() as kept:
        trainer.evaluate(run.split.test, load_best_model=False)
    ranked = kept[-1].get("rec.items")
    assert not run.split.cold_items[ranked].any()
    assert "never ranked: BPR cannot" in Path(result["run_folder"], "run.log").read_text()


def test_without_unmet_items_a_run_is_as_before(tmp_path: Path) -> None:
    keys = make_cold_data(tmp_path) | {"epochs": 2, "eval_args": {"split": {"RS": [8, 1, 1]}}}
    plain, kept = (
        run_recbole_diffusion("BPR", "made", config_dict=keys | {"keep_cold_items": keep})
        for keep in (False, True)
    )
    assert kept["split_hash"] == plain["split_hash"]
    assert kept["cold_items"] == 0
    for name, value in plain["test"].items():
        assert kept["test"][name] == value


def test_a_masked_item_is_not_found_where_candidates_run_out() -> None:
    config = Config("BPR", "planted", (), {"data_path": "dataset_atomic", "topk": [4],
                                           "valid_metric": "Recall@4"})  # fmt: skip
    collector = RankingCollector(config)
    scores = torch.full((1, 6), -torch.inf)
    scores[0, 1] = 1.0
    collector.eval_batch_collect(scores, None, torch.tensor([0, 0]), torch.tensor([1, 2]))
    found = ExactEvaluator(config).evaluate(collector.get_data_struct())
    assert found["recall@4"] == 0.5


def test_a_run_goes_on_by_its_metric_of_cold_items(
    keys: dict[str, Any], saved_each_epoch: None
) -> None:
    keys |= {"valid_metric": COLD, "epochs": 4, "stopping_step": 4, "embedding_size": 8}
    keys |= {"channels": ["text"], "steps": 5}
    whole = run_recbole_diffusion("SimDiff", "made", config_dict=keys)

    def interrupt(epoch: int, score: float) -> None:
        if epoch == 1:
            raise KeyboardInterrupt

    folder = Path(keys["output_dir"], "cut")
    with pytest.raises(KeyboardInterrupt):
        run_recbole_diffusion(
            "SimDiff", "made", config_dict=keys, on_validation=interrupt, run_folder=folder
        )
    resumed = resume_run(folder)
    assert resumed["test"] == whole["test"]
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    scores = [line["valid"]["recall@10 (cold)"] for line in lines]
    assert whole["best_epoch"] == resumed["best_epoch"] == int(np.argmax(scores))

"""What each user got: against the run's averages, pytrec_eval and RecBole's counts."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recbole_diffusion.base.errors import DamagedFile
from recbole_diffusion.data.split import load_split
from recbole_diffusion.evaluation.groups import beyond_accuracy
from recbole_diffusion.evaluation.per_user import read_frame, recorded_rankings, write_frame
from recbole_diffusion.runs.quick_start import run_in_folder
from recbole_diffusion.settings.config import Config

METRICS = ["Recall", "NDCG", "Hit", "MRR", "Precision"]
COUNTS = ["ItemCoverage", "AveragePopularity", "GiniIndex"]
TOPK = [5, 20]
# pytrec_eval's measure for each of RecBole's; MRR is cut by cutting the ranking.
MEASURES = {"recall": "recall", "ndcg": "ndcg_cut", "hit": "success", "precision": "P"}


@pytest.fixture
def run(planted: dict[str, Any], tmp_path: Path) -> tuple[Path, dict[str, Any], Any]:
    """A finished cell of BPR after one epoch: its folder, its result and its split."""
    config = Config("BPR", "planted", (), {**planted, "metrics": METRICS + COUNTS, "topk": TOPK})
    folder = tmp_path / "cell"
    result = run_in_folder(folder, "BPR", "planted", config.settable(), recorded_rankings)
    return folder, result, load_split(config)


def read(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(folder / f"{name}.parquet")


@pytest.mark.compat
def test_mean_over_users_is_the_printed_metric(run: tuple[Path, dict[str, Any], Any]) -> None:
    folder, result, split = run
    frame = read(folder, "per_user")
    for metric in METRICS:
        for k in TOPK:
            name = f"{metric.lower()}@{k}"
            assert frame[name].mean() == pytest.approx(result["test"][name], abs=1e-6), name
    train = split.train._dataset
    expected = pd.Series(train.id2token(train.uid_field, train.inter_feat[train.uid_field].numpy()))
    counts = expected.value_counts()
    assert frame["n_train"].tolist() == counts[frame["user_id"]].tolist()
    assert frame["user_id"].is_unique


@pytest.mark.compat
def test_ranking_leaves_out_what_the_user_has_met(run: tuple[Path, dict[str, Any], Any]) -> None:
    folder, _, split = run
    topk, relevant = read(folder, "topk"), read(folder, "relevant")
    met = set()
    for part in (split.train._dataset, split.valid._dataset):
        users = part.id2token(part.uid_field, part.inter_feat[part.uid_field].numpy())
        items = part.id2token(part.iid_field, part.inter_feat[part.iid_field].numpy())
        met |= set(zip(users, items, strict=True))
    shown = set(zip(topk["user_id"], topk["item_id"], strict=True))
    assert not shown & met
    assert not set(zip(relevant["user_id"], relevant["item_id"], strict=True)) & met
    assert (topk.groupby("user_id")["rank"].apply(list).map(lambda r: r == [*range(1, 21)])).all()
    assert len(shown) == len(topk)


@pytest.mark.compat
def test_metrics_equal_pytrec_eval(run: tuple[Path, dict[str, Any], Any]) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval", reason="not in this environment")
    folder, _, _ = run
    frame, topk, relevant = (read(folder, name) for name in ("per_user", "topk", "relevant"))
    wanted: dict[str, dict[str, int]] = {}
    for user, item in zip(relevant["user_id"], relevant["item_id"], strict=True):
        wanted.setdefault(user, {})[item] = 1
    measures = {f"{measure}.5,20" for measure in MEASURES.values()} | {"recip_rank"}
    for k in TOPK:
        ranked: dict[str, dict[str, float]] = {}
        cut = topk[topk["rank"] <= k]
        for user, item, rank in zip(cut["user_id"], cut["item_id"], cut["rank"], strict=True):
            ranked.setdefault(user, {})[item] = -float(rank)
        found = pytrec_eval.RelevanceEvaluator(wanted, measures).evaluate(ranked)
        assert set(found) == set(frame["user_id"])
        for metric, measure in {**MEASURES, "mrr": "recip_rank"}.items():
            name = measure if metric == "mrr" else f"{measure}_{k}"
            expected = [found[user][name] for user in frame["user_id"]]
            assert np.allclose(frame[f"{metric}@{k}"], expected, rtol=0, atol=1e-6), (metric, k)


@pytest.mark.compat
def test_diversity_is_that_of_recbole(run: tuple[Path, dict[str, Any], Any]) -> None:
    folder, result, _ = run
    diversity = beyond_accuracy(folder, TOPK)["diversity"]
    for metric in COUNTS:
        for k in TOPK:
            name = f"{metric.lower()}@{k}"
            assert diversity[name] == pytest.approx(result["test"][name], abs=1e-9), name


def test_item_groups_by_loops(run: tuple[Path, dict[str, Any], Any]) -> None:
    folder, _, _ = run
    topk, relevant, items = (read(folder, name) for name in ("topk", "relevant", "items"))
    groups = beyond_accuracy(folder, TOPK)["item_popularity"]
    # Stable: equal counts in the order of the file.
    order = sorted(range(len(items)), key=lambda i: (items["n_train"][i], i))
    place = {items["item_id"][i]: n for n, i in enumerate(order)}
    shown = {(u, i): r for u, i, r in topk[["user_id", "item_id", "rank"]].itertuples(index=False)}
    for number, group in enumerate(groups):
        hits: dict[str, list[bool]] = {}
        for user, item in relevant.itertuples(index=False):
            if place[item] * 5 // len(items) == number:
                hits.setdefault(user, []).append(shown.get((user, item), 99) <= 20)
        assert group["users"] == len(hits)
        expected = np.mean([np.mean(values) for values in hits.values()])
        assert group["metrics"]["recall@20"] == pytest.approx(expected)
    assert sum(group["items"] for group in groups) == len(items)
    assert [group["group"] for group in groups][::4] == ["0-20 %", "80-100 %"]


@pytest.mark.compat
def test_any_damaged_byte_of_a_table_is_told(tmp_path: Path) -> None:
    """Or it changes nothing, as where no reader looks."""
    ids = np.array([f"u{number}" for number in range(6)], dtype=object)
    path, frame = tmp_path / "a.parquet", pd.DataFrame({"user_id": ids, "rank": np.arange(6)})
    write_frame(path, frame)
    content = path.read_bytes()
    written, told = read_frame(path), list[str]()
    for place in range(0, len(content), 2):
        changed = bytearray(content)
        changed[place] ^= 1 << place // 2 % 8
        path.write_bytes(changed)
        try:
            assert read_frame(path, "user_id", "rank").equals(written)
        except DamagedFile as error:
            told.append(str(error))
    assert len(told) > len(content) / 10
    assert not any("\n" in text or str(path) not in text for text in told)

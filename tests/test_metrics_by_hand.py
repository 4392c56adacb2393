"""Every ranking metric of RecBole's that settings take, against loops over users in numpy."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from recbole.evaluator import metrics as host

from recbole_diffusion.data.split import load_split
from recbole_diffusion.evaluation import metrics
from recbole_diffusion.evaluation.collector import RankingCollector, ScoresAreNaN
from recbole_diffusion.evaluation.metrics import ExactEvaluator
from recbole_diffusion.evaluation.ranking import _lots
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.evaluation_keys import RANKING

pytestmark = pytest.mark.compat

N_USERS, N_ITEMS = 37, 151
TAIL = 0.2


class Case:
    """Scores with masks, and what users are to be given."""

    def __init__(self, rng: np.random.Generator, n_levels: int) -> None:
        self.scores = rng.integers(n_levels, size=(N_USERS, N_ITEMS)).astype(np.float64)
        self.masked = rng.random((N_USERS, N_ITEMS)) < 0.2
        self.masked[:, 0] = True
        self.masked[5] = True  # whose list is longer than the candidates
        self.masked[5, 1:4] = False
        self.is_positive = (rng.random((N_USERS, N_ITEMS)) < 0.05) & ~self.masked
        self.is_positive[np.arange(N_USERS), (~self.masked).argmax(axis=1)] = True
        self.scores[self.masked] = -np.inf

    def batches(self, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        for start in range(0, N_USERS, size):
            rows, items = np.nonzero(self.is_positive[start : start + size])
            order = np.lexsort((-items, rows))  # of a user in any order
            positives = map(torch.from_numpy, (rows[order], items[order]))
            yield torch.from_numpy(self.scores[start : start + size].copy()), *positives


def by_hand(case: Case, topk: list[int], counts: np.ndarray) -> dict[str, float]:
    lot = np.empty(N_ITEMS, dtype=np.int64)
    lot[_lots(N_ITEMS - 1).numpy() + 1] = np.arange(N_ITEMS - 1)
    ranked = np.array([np.lexsort((lot[1:], -row[1:])) + 1 for row in case.scores])
    hits = np.take_along_axis(case.is_positive, ranked, axis=1).astype(float)
    n_positive = case.is_positive.sum(axis=1)
    by_count = np.lexsort((np.arange(1, N_ITEMS), counts[1:])) + 1
    tail = by_count[: int(TAIL * (N_ITEMS - 1))]
    found = {"gauc": gauc(case)}
    for k in topk:
        listed, hit, place = ranked[:, :k], hits[:, :k], np.arange(1, k + 1)
        values: dict[str, list[float]] = {}
        for row, n in zip(hit, n_positive.tolist(), strict=True):
            precisions = [row[:j].mean() for j in place]
            one = {
                "recall": row.sum() / n,
                "precision": row.mean(),
                "hit": float(row.any()),
                "mrr": max(row / place),
                "ndcg": (row / np.log2(place + 1)).sum()
                / sum(1 / np.log2(j + 1) for j in range(1, min(n, k) + 1)),
                # RecBole counts at most as many ranks as the longest list has.
                "map": (row * precisions).sum() / min(n, max(topk), k),
            }
            for name, value in one.items():
                values.setdefault(name, []).append(value)
        found |= {f"{name}@{k}": float(np.mean(column)) for name, column in values.items()}
        times = np.bincount(listed.ravel(), minlength=N_ITEMS)[1:]
        shares = times[times > 0] / times.sum()
        differences = np.abs(times[:, None] - times).sum()
        found |= {
            f"itemcoverage@{k}": float((times > 0).mean()),
            f"giniindex@{k}": float(differences / (2 * len(times) * times.sum())),
            f"shannonentropy@{k}": float(-(shares * np.log(shares)).sum()),
            f"averagepopularity@{k}": float(counts[listed].mean()),
            f"tailpercentage@{k}": float(np.isin(listed, tail).mean()),
        }
    return found


def gauc(case: Case) -> float:
    """Share of pairs in order, an equal pair half, by user; weighted by positives."""
    total, weight = 0.0, 0
    for row, masked, positive in zip(case.scores, case.masked, case.is_positive, strict=True):
        ours, others = row[positive], row[~masked & ~positive]
        difference = ours[:, None] - others
        total += len(ours) * ((difference > 0) + 0.5 * (difference == 0)).mean()
        weight += len(ours)
    return total / weight


@pytest.fixture
def make(planted: dict[str, Any]) -> Any:
    """A collector that knows the train part, its evaluator, and counts of items in train."""

    def make(topk: list[int], metrics: list[str]) -> tuple[RankingCollector, Any, np.ndarray]:
        keys = {"metrics": metrics, "topk": topk, "tail_ratio": TAIL}
        measured = metrics[0] if metrics == ["gauc"] else f"{metrics[0]}@{topk[0]}"
        config = Config("BPR", "planted", (), {**planted, **keys, "valid_metric": measured})
        split = load_split(config)
        collector = RankingCollector(config)
        collector.data_collect(split.train)
        items = split.train._dataset.inter_feat["item_id"].numpy()
        return collector, ExactEvaluator(config), np.bincount(items, minlength=N_ITEMS)

    return make


@pytest.mark.parametrize("topk", [[1, 3, 5], [1, 10, 50, 150]], ids=["grouped", "whole"])
@pytest.mark.parametrize("n_levels", [2, 12, 10**6])
def test_every_metric(make: Any, rng: np.random.Generator, n_levels: int, topk: list[int]) -> None:
    case = Case(rng, n_levels)
    collector, evaluator, counts = make(topk, list(RANKING))
    expected = by_hand(case, topk, counts)
    for size in (1, 10, N_USERS):  # one evaluation after the other, in other blocks
        for scores, rows, items in case.batches(size):
            collector.eval_batch_collect(scores, None, rows, items)
        found = evaluator.evaluate(collector.get_data_struct())
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, abs=1e-12), (name, size)


@pytest.mark.parametrize("metrics", [["recall"], ["itemcoverage"], ["gauc"]])
@pytest.mark.parametrize("n_nan", [1, 100])
def test_a_score_that_is_no_number_is_told(
    make: Any, rng: np.random.Generator, metrics: list[str], n_nan: int
) -> None:
    """Also in a row whose other scores are equal."""
    collector, _, _ = make([1, 5], metrics)
    scores = torch.zeros(3, N_ITEMS)
    scores[:, 0] = -torch.inf
    scores[1, 150 - n_nan : 150] = torch.nan
    positives = torch.arange(3), torch.tensor([4, 5, 6])
    with pytest.raises(ScoresAreNaN):
        collector.eval_batch_collect(scores, None, *positives)
    collector.eval_batch_collect(scores.nan_to_num(), None, *positives)


def test_metrics_of_users_have_the_bits_of_recboles_loops(rng: np.random.Generator) -> None:
    hits = (rng.random((300, 20)) < 0.15).astype(int)
    n_positive = np.maximum(rng.integers(1, 60, 300), hits.sum(axis=1))
    config = {"topk": [20], "metric_decimal_place": 4}
    for name, given in (
        ("NDCG", (hits, n_positive)),
        ("MRR", (hits,)),
        ("MAP", (hits, n_positive)),
    ):
        ours, theirs = (getattr(kind, name)(config) for kind in (metrics, host))
        np.testing.assert_array_equal(ours.metric_info(*given), theirs.metric_info(*given))

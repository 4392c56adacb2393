"""RecBole's metrics, not rounded: rounded ones tie, and ties move the choice of the best epoch."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from recbole.evaluator import metrics as host
from recbole.evaluator import metrics_dict
from recbole.evaluator.base_metric import TopkMetric
from recbole.evaluator.collector import DataStruct
from recbole.evaluator.evaluator import Evaluator

from recbole_diffusion.evaluation.collector import topk_of
from recbole_diffusion.settings.evaluation_keys import GROUPS, of_group


class _OfUsers:
    """A metric that is a mean over users."""

    topk: list[int]

    def topk_result(self, metric: str, value: np.ndarray) -> dict[str, float]:
        means = value.mean(axis=0)
        return {f"{metric}@{k}": float(means[k - 1]) for k in self.topk}


class _GAUC(host.GAUC):
    def calculate_metric(self, dataobject: Any) -> dict[str, float]:
        rank_sum, n_items, n_positive = np.split(dataobject.get("rec.meanrank").numpy(), 3, axis=1)
        return {"gauc": float(self.metric_info(rank_sum, n_items[:, 0], n_positive[:, 0]))}


class _OfLists:
    """A metric of the items of all lists."""

    topk: list[int]
    of_lists: Callable[[np.ndarray, Any], float]

    def calculate_metric(self, dataobject: Any) -> dict[str, float]:
        items, name = dataobject.get("rec.items").numpy(), type(self).__name__.lower()
        return {f"{name}@{k}": self.of_lists(items[:, :k], dataobject) for k in self.topk}


class NDCG(_OfUsers, host.NDCG):
    """Discounted gain over that of a perfect list; RecBole loops over users."""

    def metric_info(self, pos_index: np.ndarray, pos_len: np.ndarray) -> np.ndarray:
        """At each cut-off [n_users, k]: hits [n_users, k], numbers to be found [n_users]."""
        ranks = np.arange(1, pos_index.shape[1] + 1)
        gains = 1.0 / np.log2(ranks + 1)
        best = np.cumsum(gains)[np.minimum(ranks, pos_len[:, None]) - 1]
        ndcg: np.ndarray = np.where(pos_index, gains, 0).cumsum(axis=1) / best
        return ndcg


class MRR(_OfUsers, host.MRR):
    """One over the rank of the first hit; RecBole loops over users."""

    def metric_info(self, pos_index: np.ndarray) -> np.ndarray:
        """At each cut-off [n_users, k], from hits [n_users, k]."""
        hits = pos_index > 0
        first = hits.argmax(axis=1)[:, None]
        mrr: np.ndarray = np.logical_or.accumulate(hits, axis=1) / (first + 1)
        return mrr


class MAP(_OfUsers, host.MAP):
    """Mean of the precision at each hit; RecBole loops over users."""

    def metric_info(self, pos_index: np.ndarray, pos_len: np.ndarray) -> np.ndarray:
        """As ``NDCG.metric_info``."""
        ranks = np.arange(1, pos_index.shape[1] + 1)
        precision = pos_index.cumsum(axis=1) / ranks
        total = np.cumsum(precision * pos_index.astype(np.float64), axis=1)
        mean: np.ndarray = total / np.minimum(ranks, pos_len[:, None])
        return mean


class ItemCoverage(_OfLists, host.ItemCoverage):
    """Share of the items that are recommended to somebody."""

    def of_lists(self, items: np.ndarray, dataobject: Any) -> float:
        """Of lists [n_users, k]."""
        return float(self.get_coverage(items, dataobject.get("data.num_items")))


class GiniIndex(_OfLists, host.GiniIndex):
    """How unequally items are recommended, 0 for all alike."""

    def of_lists(self, items: np.ndarray, dataobject: Any) -> float:
        """Of lists [n_users, k]."""
        return float(self.get_gini(items, dataobject.get("data.num_items")))


class ShannonEntropy(_OfLists, host.ShannonEntropy):
    """Of the items' shares in all lists; RecBole divides it by the number of distinct items."""

    def of_lists(self, items: np.ndarray, dataobject: Any) -> float:
        """Of lists [n_users, k]."""
        counts = np.unique(items, return_counts=True)[1]
        shares = counts / counts.sum()
        return float(-(shares * np.log(shares)).sum())


class AveragePopularity(_OfUsers, host.AveragePopularity):
    """Mean number of train interactions of the recommended items."""

    def get_pop(self, item_matrix: np.ndarray, item_count: dict[int, int]) -> np.ndarray:
        """Counts of the items [n_users, k]."""
        return _counts(item_count)[item_matrix]


class TailPercentage(_OfUsers, host.TailPercentage):
    """Share of the recommended items that are among the ``tail_ratio`` least popular ones."""

    def get_tail(self, item_matrix: np.ndarray, count_items: dict[int, int]) -> np.ndarray:
        """Whether each item [n_users, k] is one of the tail, 0 or 1."""
        by_count = sorted(count_items, key=lambda item: (count_items[item], item))
        tail = by_count[: max(int(len(by_count) * self.tail), 1)]
        return np.isin(item_matrix, tail).astype(item_matrix.dtype)


def _counts(item_count: dict[int, int]) -> np.ndarray:
    """Counts by item id, of a dictionary that has every id but the padding's."""
    counts = np.zeros(max(item_count) + 1, dtype=np.int64)
    counts[list(item_count)] = list(item_count.values())
    return counts


OURS = {
    metric.__name__.lower(): metric
    for metric in (
        *(NDCG, MRR, MAP),
        *(ItemCoverage, GiniIndex, ShannonEntropy, AveragePopularity, TailPercentage),
    )
}


def metric_class(name: str) -> Any:
    """RecBole's ranking metric of a name in lower case, not rounded."""
    if name in OURS:
        return OURS[name]
    return _GAUC if name == "gauc" else type(name, (_OfUsers, metrics_dict[name]), {})


class ExactEvaluator(Evaluator):
    """RecBole's evaluator of metrics that are not rounded.

    Args:
        config: Settings of the run.
    """

    metrics: list[str]

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.metric_class = {name: metric_class(name)(config) for name in self.metrics}

    def evaluate(self, dataobject: Any) -> OrderedDict[str, float]:
        """All metrics of a ranking, and those of users among each group of items.

        Args:
            dataobject: What the collector handed over.
        """
        result: OrderedDict[str, float] = super().evaluate(dataobject)
        for group in GROUPS:
            if topk_of(group) in dataobject:
                ranking = DataStruct()
                ranking.set("rec.topk", dataobject.get(topk_of(group)))
                for name, values in user_metrics(self.config, ranking).items():
                    result[of_group(name, group)] = float(values.mean())
        return result


def metric_names(config: Any) -> list[str]:
    """Names of the metrics that each user has, such as "recall@20"."""
    names = [name.lower() for name in config["metrics"]]
    return [f"{name}@{k}" for name in names if _is_of_users(name) for k in config["topk"]]


def user_metrics(config: Any, ranking: Any) -> dict[str, np.ndarray]:
    """RecBole's top-k metrics before their mean over users.

    Args:
        config: Of the run; reads ``metrics`` and ``topk``.
        ranking: What the collector handed over.

    Returns:
        [n_users] by name such as "recall@20", in the order of the evaluation's users.
    """
    columns: dict[str, np.ndarray] = {}
    for name in filter(_is_of_users, (name.lower() for name in config["metrics"])):
        metric: Any = metric_class(name)(config)
        metric.topk_result = lambda name, values: {
            f"{name}@{k}": np.asarray(values[:, k - 1], dtype=np.float64) for k in config["topk"]
        }
        columns.update(metric.calculate_metric(ranking))
    return columns


def _is_of_users(name: str) -> bool:
    return issubclass(metrics_dict[name], TopkMetric)

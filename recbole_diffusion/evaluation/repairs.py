"""Patches of how RecBole ranks and measures."""

from collections import Counter
from typing import Any

import numpy as np
import torch

from recbole_diffusion.evaluation.batches import users_per_batch
from recbole_diffusion.evaluation.ranking import ranked_items
from recbole_diffusion.host.patch import Overlay, Patch, in_every_version, is_1_2_1_on


def _count_eval_batches_in_users() -> None:
    from recbole.data.dataloader.general_dataloader import FullSortEvalDataLoader

    host_method = FullSortEvalDataLoader._init_batch_size_and_step

    def init_batch_size_and_step(self: Any) -> None:
        host_method(self)
        if not self.is_sequential:
            self.step = users_per_batch(self.config, self._dataset.item_num)
            self.set_batch_size(self.step * self._dataset.item_num)

    FullSortEvalDataLoader._init_batch_size_and_step = init_batch_size_and_step


def _unrounded(value: float, digits: int) -> float:
    return float(value)


def _leave_metrics_unrounded() -> None:
    from recbole.evaluator import base_metric, metrics

    base_metric.round = metrics.round = _unrounded


def _get_data_struct(self: Any) -> Any:
    """Hand over what was collected, tensors on the CPU, and start the next evaluation empty."""
    from recbole.evaluator.collector import DataStruct

    collected = DataStruct()
    for key, value in self.data_struct._data_dict.items():
        collected.set(key, value.cpu() if isinstance(value, torch.Tensor) else value)
    for key in ("rec.topk", "rec.meanrank", "rec.score", "rec.items", "data.label"):
        if key in self.data_struct:
            del self.data_struct[key]
    return collected


def _collect_plain_values() -> None:
    from recbole.evaluator.collector import Collector

    Collector.get_data_struct = _get_data_struct


def _topk(scores: torch.Tensor, k: int, dim: int = -1) -> tuple[torch.Tensor, torch.Tensor]:
    """As ``torch.topk``, of rows [n, n_items] alone."""
    return ranked_items(scores, k)


def _rank_ties_by_lot() -> None:
    from recbole.evaluator import collector

    collector.torch = Overlay(torch, topk=_topk)


def _entropy(self: Any, item_matrix: np.ndarray) -> float:
    counts = np.unique(item_matrix, return_counts=True)[1]
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def _leave_entropy_undivided() -> None:
    from recbole.evaluator import metrics

    metrics.ShannonEntropy.get_entropy = _entropy


def _count_items_without_padding() -> None:
    from recbole.evaluator.collector import Collector

    host_method = Collector.data_collect

    def data_collect(self: Any, train_data: Any) -> None:
        host_method(self, train_data)
        n_items = train_data._dataset.item_num
        if "data.num_items" in self.data_struct:
            self.data_struct.set("data.num_items", n_items - 1)
        if "data.count_items" in self.data_struct:
            counts = Counter(dict.fromkeys(range(1, n_items), 0))
            counts.update(train_data._dataset.item_counter)
            self.data_struct.set("data.count_items", counts)

    Collector.data_collect = data_collect


PATCHES = (
    Patch(
        "count_eval_batches_in_users",
        "full-sort evaluation scores one user at a time once n_items > eval_batch_size / 2",
        in_every_version,
        _count_eval_batches_in_users,
    ),
    Patch(
        "leave_metrics_unrounded",
        "metrics are rounded before the best epoch is picked, so that ties move it",
        in_every_version,
        _leave_metrics_unrounded,
    ),
    Patch(
        "collect_plain_values",
        "RecBole 1.2.1 calls .cpu() on counts, which stops ItemCoverage and its like",
        is_1_2_1_on,
        _collect_plain_values,
    ),
    Patch(
        "rank_ties_by_lot",
        "equal scores rank by item id, and early ids are those of popular items",
        in_every_version,
        _rank_ties_by_lot,
    ),
    Patch(
        "leave_entropy_undivided",
        "ShannonEntropy is divided by the number of distinct items that are recommended",
        in_every_version,
        _leave_entropy_undivided,
    ),
    Patch(
        "count_items_without_padding",
        "coverage and Gini count the padding as an item, TailPercentage leaves out the coldest",
        in_every_version,
        _count_items_without_padding,
    ),
)

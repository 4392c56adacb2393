"""What each user got: a ranking's metrics user by user, and the ranking itself, as files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from recbole.evaluator import metrics_dict
from recbole.evaluator.base_metric import TopkMetric

from recbole_diffusion.files import written_whole

PER_USER = "per_user.parquet"
TRAIN_MASKED = "per_user.train_masked.parquet"


@contextmanager
def collected_rankings(trainer: Any) -> Iterator[list[Any]]:
    """What RecBole's collector hands to its metrics in the evaluations inside, one entry for each.

    Args:
        trainer: Its collector also keeps the ranked items meanwhile, whatever the metrics need.
    """
    collector, kept = trainer.eval_collector, []
    host_method, before = collector.get_data_struct, dict(vars(collector.register))

    def get_data_struct() -> Any:
        kept.append(host_method())
        return kept[-1]

    collector.get_data_struct = get_data_struct
    vars(collector.register).update({"rec.items": True, "rec.topk": True})
    try:
        yield kept
    finally:
        collector.get_data_struct = host_method
        vars(collector.register).clear()
        vars(collector.register).update(before)


def metric_names(config: Any) -> list[str]:
    """Names of the metrics that each user has, such as "recall@20"."""
    kinds = [name.lower() for name in config["metrics"]]
    kinds = [name for name in kinds if issubclass(metrics_dict[name], TopkMetric)]
    return [f"{name}@{k}" for name in kinds for k in config["topk"]]


def user_metrics(config: Any, ranking: Any) -> dict[str, np.ndarray]:
    """RecBole's top-k metrics before their mean over users.

    Args:
        config: Of the run; reads ``metrics`` and ``topk``.
        ranking: What ``collected_rankings`` gave.

    Returns:
        [n_users] by name such as "recall@20", in the order of the evaluation's users.
    """
    columns: dict[str, np.ndarray] = {}
    for name in config["metrics"]:
        metric_class = metrics_dict[name.lower()]
        if issubclass(metric_class, TopkMetric):
            metric: Any = metric_class(config)
            metric.topk_result = lambda name, values: {
                f"{name}@{k}": np.asarray(values[:, k - 1], dtype=np.float64)
                for k in config["topk"]
            }
            columns.update(metric.calculate_metric(ranking))
    return columns


def per_user_frame(config: Any, split: Any, ranking: Any, loader: Any) -> pd.DataFrame:
    """One row a user: original id, interactions in train, metrics."""
    train = split.train._dataset
    users = np.asarray(loader.uid_list)
    counts = _counts(train, train.uid_field, train.user_num)
    return pd.DataFrame(
        {
            "user_id": _tokens(train, train.uid_field, users),
            "n_train": counts[users],
            **user_metrics(config, ranking),
        }
    )


@contextmanager
def recorded_rankings(run: Any, trainer: Any) -> Iterator[None]:
    """Around the final evaluation of a run: what each user got on test goes to the run's folder.

    ``per_user.parquet`` holds the metrics, ``topk.parquet`` the ranked items, ``relevant.parquet``
    the test part and ``items.parquet`` all items with their train interactions.
    """
    with collected_rankings(trainer) as kept:
        yield
    folder, split, ranking = Path(run.config["checkpoint_dir"]), run.split, kept[-1]
    train, loader = split.train._dataset, split.test
    items = ranking.get("rec.items").numpy()
    n_users, k = items.shape
    test = loader._dataset
    users = _tokens(train, train.uid_field, np.asarray(loader.uid_list))
    everything = np.arange(1, train.item_num)
    frames = {
        "topk": {
            "user_id": np.repeat(users, k),
            "rank": np.tile(np.arange(1, k + 1, dtype=np.int32), n_users),
            "item_id": _tokens(train, train.iid_field, items.ravel()),
        },
        "relevant": {
            "user_id": _tokens(train, train.uid_field, test.inter_feat[test.uid_field].numpy()),
            "item_id": _tokens(train, train.iid_field, test.inter_feat[test.iid_field].numpy()),
        },
        "items": {
            "item_id": _tokens(train, train.iid_field, everything),
            "n_train": _counts(train, train.iid_field, train.item_num)[everything],
        },
    }
    for name, columns in frames.items():
        write_frame(folder / f"{name}.parquet", pd.DataFrame(columns))
    write_frame(folder / PER_USER, per_user_frame(run.config, split, ranking, loader))


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Write a table as Parquet, whole or not at all."""
    with written_whole(path) as stream:
        frame.to_parquet(stream, index=False)


def _tokens(dataset: Any, field: str, ids: np.ndarray) -> np.ndarray:
    return np.asarray(dataset.field2id_token[field]).astype(str)[ids].astype(object)


def _counts(dataset: Any, field: str, size: int) -> np.ndarray:
    return np.bincount(dataset.inter_feat[field].numpy(), minlength=size)

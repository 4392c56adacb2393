"""Tiny data and models, of RecBole's classes or of those that mend them."""

import importlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Where each class is in RecBole, and the one that mends it here.
PLACES = {
    "Collector": ("recbole.evaluator.collector", "evaluation.collector", "RankingCollector"),
    "Dataset": ("recbole.data.dataset", "data.dataset", "AtomicDataset"),
    "FullSortEvalDataLoader": ("recbole.data.dataloader", "data.full_sort", "FullSortLoader"),
    "Sampler": ("recbole.sampler", "data.negatives", "NegativeSampler"),
}
_takes_ours = False


def take_ours(value: bool) -> None:
    """Whether what follows is made of our classes, or of RecBole's."""
    global _takes_ours
    _takes_ours = value


def part(name: str) -> Any:
    host, ours, own_name = PLACES[name]
    module, found = (f"recbole_diffusion.{ours}", own_name) if _takes_ours else (host, name)
    return getattr(importlib.import_module(module), found)


def metric(name: str) -> Any:
    if _takes_ours:
        module = importlib.import_module("recbole_diffusion.evaluation.metrics")
        return module.metric_class(name.lower())
    return getattr(importlib.import_module("recbole.evaluator.metrics"), name)


def model_class(name: str) -> Any:
    if _takes_ours:
        registry = importlib.import_module("recbole_diffusion.settings.registry")
        return registry.find_model(f"recbole.{name}").model_class
    return getattr(importlib.import_module("recbole.model.general_recommender"), name)


class Settings(dict):
    """As RecBole's Config answers: None for a key that is not there."""

    def __missing__(self, key: str) -> None:
        return None


def error_of(kind: type[Exception], use: Callable[[], Any]) -> str:
    try:
        use()
    except kind as error:
        return str(error)
    raise AssertionError(f"accepted without {kind.__name__}")


def tiny_settings(folder: str, **changes: Any) -> Settings:
    import torch
    from recbole.utils import EvaluatorType, InputType, ModelType

    none = {"distribution": "none", "sample_num": "none", "alpha": "none", "dynamic": False}
    return Settings(
        {
            "model": "BPR",
            "MODEL_TYPE": ModelType.GENERAL,
            "MODEL_INPUT_TYPE": InputType.PAIRWISE,
            "eval_type": EvaluatorType.RANKING,
            "dataset": "tiny",
            "data_path": folder,
            "USER_ID_FIELD": "user_id",
            "ITEM_ID_FIELD": "item_id",
            "NEG_PREFIX": "neg_",
            "field_separator": "\t",
            "seq_separator": " ",
            "encoding": "utf-8",
            "numerical_features": [],
            "eval_args": {
                "split": {"RS": [0.4, 0.3, 0.3]},
                "group_by": "user",
                "order": "RO",
                "mode": {"valid": "full", "test": "full"},
            },
            "train_neg_sample_args": {**none, "distribution": "uniform", "sample_num": 1},
            "valid_neg_sample_args": {"distribution": "uniform", "sample_num": "none"},
            "test_neg_sample_args": {"distribution": "uniform", "sample_num": "none"},
            "eval_batch_size": 20,
            "train_batch_size": 8,
            "seed": 1,
            "worker": 0,
            "single_spec": True,
            "device": torch.device("cpu"),
            "metric_decimal_place": 4,
            "metrics": ["Recall"],
            "topk": [1],
            **changes,
        }
    )


def dataset_of(inter_rows: str, item_rows: str = "", **changes: Any) -> Any:
    """RecBole's dataset of an .inter file, and of an .item file if it has rows."""
    with tempfile.TemporaryDirectory() as folder:
        for suffix, rows in (("inter", inter_rows), ("item", item_rows)):
            if rows:
                Path(folder, f"tiny.{suffix}").write_text(rows, encoding="utf-8")
        return part("Dataset")(tiny_settings(folder, **changes))


def tiny_dataset(item_rows: str = "", **changes: Any) -> Any:
    """Six users, ten items, every user with five of them; ``item_rows`` becomes an .item file."""
    pairs = [f"u{u}\ti{i}" for u in range(6) for i in range(10) if (u + i) % 2]
    head = "user_id:token\titem_id:token"
    return dataset_of("\n".join([head, *pairs]) + "\n", item_rows, **changes)


def tiny_model(name: str, **settings: Any) -> Any:
    """A model of RecBole's on the tiny set, without the graph that scipy's change would stop."""
    import torch

    dataset = tiny_dataset(**{"embedding_size": 4, **settings})
    dataset._change_feat_format()

    class Tiny(model_class(name)):  # type: ignore[misc]
        def get_norm_adj_mat(self) -> Any:
            return torch.eye(self.n_users + self.n_items).to_sparse()

    return Tiny(dataset.config, dataset)


def pairs(users: list[int], items: list[int]) -> dict[str, Any]:
    import torch

    return {"user_id": torch.tensor(users), "item_id": torch.tensor(items)}

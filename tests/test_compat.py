"""Every patch of the host: its fault on the plain host, its repair, and that others see nothing.

As a script (``python test_compat.py plain|patched``) this file runs all snippets on RecBole alone,
or with the package imported first, and prints what became of each as JSON. Optional packages are
hidden from both. On the plain host each fault is put out of the way after its snippet has shown it,
so that the snippets behind it fail for their own reason.
"""

import importlib
import io
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

HIDDEN = ("ray", "kmeans_pytorch", "lightgbm")
HERE = Path(__file__).resolve()


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
    from recbole.data.dataset import Dataset

    with tempfile.TemporaryDirectory() as folder:
        for suffix, rows in (("inter", inter_rows), ("item", item_rows)):
            if rows:
                Path(folder, f"tiny.{suffix}").write_text(rows, encoding="utf-8")
        return Dataset(tiny_settings(folder, **changes))


def tiny_dataset(item_rows: str = "", **changes: Any) -> Any:
    """Six users, ten items, every user with five of them; ``item_rows`` becomes an .item file."""
    pairs = [f"u{u}\ti{i}" for u in range(6) for i in range(10) if (u + i) % 2]
    head = "user_id:token\titem_id:token"
    return dataset_of("\n".join([head, *pairs]) + "\n", item_rows, **changes)


def quick_start_without_ray() -> None:
    module = importlib.import_module("recbole.quick_start.quick_start")
    assert callable(module.run_recbole)
    message = error_of(ImportError, lambda: module.tune.report(recall=1.0))
    assert "`ray`" in message, message
    assert "pip install ray" in message, message


def recommenders_without_kmeans() -> None:
    package = importlib.import_module("recbole.model.general_recommender")
    assert package.LightGCN.__name__ == "LightGCN"
    module = importlib.import_module("recbole.model.general_recommender.ldiffrec")
    if hasattr(module, "kmeans"):
        message = error_of(ImportError, lambda: module.kmeans(X=None, num_clusters=2))
        assert "`kmeans_pytorch`" in message, message
        assert "pip install kmeans_pytorch" in message, message


def config_leaves_numpy_alone() -> None:
    from recbole.config import Config

    before = dict(vars(np))
    settings = {"use_gpu": False, "data_path": "nowhere", "seed": 3}
    config = Config(model="BPR", dataset="planted", config_dict=settings)
    assert config["seed"] == 3
    assert config["embedding_size"] == 64
    after = dict(vars(np))
    assert {n for n in after if n not in before or after[n] is not before[n]} == set()


def metrics_by_hand() -> None:
    from recbole.evaluator.metrics import MAP, MRR, NDCG

    config = Settings(topk=[3], metric_decimal_place=4)
    hits = np.array([[True, False, True], [False, True, False]])
    count = np.array([2, 1])
    gain = 1 / np.log2(np.arange(2, 5))
    by_hand = [
        [gain[0], gain[0] / (gain[0] + gain[1]), (gain[0] + gain[2]) / (gain[0] + gain[1])],
        [0, gain[1] / gain[0], gain[1] / gain[0]],
    ]
    assert np.allclose(NDCG(config).metric_info(hits, count), by_hand, atol=1e-12)
    assert np.allclose(MRR(config).metric_info(hits)[:, -1], [1, 1 / 2], atol=1e-12)
    assert np.allclose(MAP(config).metric_info(hits, count)[:, -1], [5 / 6, 1 / 2], atol=1e-12)


def interactions_of_lists_and_arrays() -> None:
    import torch
    from recbole.data.interaction import Interaction

    batch = Interaction({"user_id": [1, 2], "score": np.array([0.5, 2.0])})
    assert torch.equal(batch["user_id"], torch.tensor([1, 2]))
    assert torch.equal(batch["score"], torch.tensor([0.5, 2.0]))


def lightgcn_adjacency() -> None:
    from recbole.model.general_recommender import LightGCN

    settings = {"embedding_size": 4, "n_layers": 2, "reg_weight": 1e-4, "require_pow": False}
    dataset = tiny_dataset(**settings)
    found = LightGCN(dataset.config, dataset).norm_adj_matrix.to_dense().numpy()

    n_users, n_items = dataset.user_num, dataset.item_num
    adjacency = np.zeros((n_users + n_items, n_users + n_items))
    users, items = dataset.inter_feat["user_id"], dataset.inter_feat["item_id"]
    for user, item in zip(users, items, strict=True):
        adjacency[user, n_users + item] = adjacency[n_users + item, user] = 1
    degree = adjacency.sum(axis=1, keepdims=True)
    scale = np.sqrt(degree @ degree.T)
    expected = np.divide(adjacency, scale, out=np.zeros_like(scale), where=scale > 0)
    assert expected.sum() > 1
    assert np.allclose(found, expected, atol=1e-6)


def host_modules_with(text: str) -> list[Any]:
    """Modules of RecBole whose source has a text; not those of packages that it does not bring."""
    import recbole

    folder = Path(recbole.__file__).parent
    paths = [path for path in folder.rglob("*.py") if text in path.read_text(encoding="utf-8")]
    names = [".".join(path.relative_to(folder.parent).with_suffix("").parts) for path in paths]
    return [importlib.import_module(name) for name in names if "exlib" not in name]


def every_model_that_updates_a_dok_matrix() -> None:
    users = host_modules_with("A._update(")
    assert {"lightgcn", "kgin", "mcclk"} <= {module.__name__.split(".")[-1] for module in users}
    for module in users:
        matrix = module.sp.dok_matrix((2, 3), dtype=np.float32)
        matrix._update({(0, 1): 1.0, (1, 2): 2.0})
        assert matrix.toarray().tolist() == [[0, 1, 0], [0, 0, 2]], module


def every_module_with_a_removed_numpy_name() -> None:
    expected = {"long": np.int64, "float": np.float64, "bool": np.bool_, "str": np.str_}
    for name, kind in expected.items():
        for module in host_modules_with(f"np.{name})"):
            assert getattr(module.np, name) is kind, module


def sparse_tensors_without_warning() -> None:
    import torch

    users = host_modules_with("torch.sparse.FloatTensor(")
    assert len(users) >= 12
    torch.set_warn_always(True)
    index, values = torch.tensor([[0, 1], [2, 0]]), torch.tensor([3, 4])
    for module in users:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*(deprecated|invariant).*")
            matrix = module.torch.sparse.FloatTensor(index, values.float(), torch.Size([2, 3]))
        assert matrix.dtype == torch.float32, module
        assert matrix.to_dense().tolist() == [[0, 0, 3], [4, 0, 0]], module


def tensors_own_their_memory() -> None:
    import torch

    dataset = tiny_dataset()
    torch.set_warn_always(True)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*not writable.*")
        dataset._change_feat_format()
    assert len(dataset.inter_feat["user_id"]) == 30
    assert sorted(set(dataset.inter_feat["user_id"].tolist())) == list(range(1, 7))


def missing_floats_and_tokens() -> None:
    rows = "item_id:token\tprice:float\tbrand:token\n" + "".join(
        f"i{i}\t{'' if i == 3 else i}\t{'' if i == 4 else f'b{i % 2}'}\n" for i in range(10)
    )
    dataset = tiny_dataset(rows)
    dataset._change_feat_format()
    place = dataset.field2token_id["item_id"]
    price, brand = dataset.item_feat["price"], dataset.item_feat["brand"]
    mean = (45 - 3) / 9
    for i in range(10):
        assert abs(price[place[f"i{i}"]].item() - (mean if i == 3 else i)) < 1e-6, i
        token = dataset.field2id_token["brand"][brand[place[f"i{i}"]].item()]
        assert token == ("[PAD]" if i == 4 else f"b{i % 2}"), (i, token)
    assert abs(price[0].item() - mean) < 1e-6
    assert brand[0].item() == 0


def sequences() -> None:
    rows = "item_id:token\ttags:token_seq\tsize:float_seq\n" + "".join(
        f"i{i}\tx y{i}\t{i}.5 2\n" for i in range(10)
    )
    check_sequences(tiny_dataset(rows), missing=None)


def empty_sequences() -> None:
    rows = "item_id:token\ttags:token_seq\tsize:float_seq\n" + "".join(
        f"i{i}\t{'' if i == 5 else f'x y{i}'}\t{'' if i == 5 else f'{i}.5 2'}\n" for i in range(10)
    )
    check_sequences(tiny_dataset(rows), missing=5)


def check_sequences(dataset: Any, missing: int | None) -> None:
    dataset._change_feat_format()
    place = dataset.field2token_id["item_id"]
    tags, size = dataset.item_feat["tags"], dataset.item_feat["size"]
    assert tuple(tags.shape) == tuple(size.shape) == (11, 2)
    for i in range(10):
        named = [dataset.field2id_token["tags"][t] for t in tags[place[f"i{i}"]].tolist()]
        assert named == (["[PAD]"] * 2 if i == missing else ["x", f"y{i}"]), (i, named)
        numbers = size[place[f"i{i}"]].tolist()
        assert numbers == ([0.0, 0.0] if i == missing else [i + 0.5, 2.0]), (i, numbers)
    assert tags[0].tolist() == [0, 0]
    assert size[0].tolist() == [0.0, 0.0]


def sequences_of_numbers_are_scaled() -> None:
    rows = "item_id:token\tsize:float_seq\n" + "".join(f"i{i}\t{i} 18\n" for i in range(10))
    dataset = tiny_dataset(rows, normalize_field=["size"])
    dataset._change_feat_format()
    place, size = dataset.field2token_id["item_id"], dataset.item_feat["size"]
    for i in range(10):
        assert np.allclose(size[place[f"i{i}"]], [i / 18, 1.0]), (i, size)


def sequences_of_numbers_are_put_in_buckets() -> None:
    # No row is [PAD]'s here, whose empty sequence the host fills before this.
    rows = "item_id:token\tsize:float_seq\n" + "".join(f"i{i}\t{i} 18\n" for i in range(10))
    buckets = {"size": {"method": "ED", "bucket": 3}}
    dataset = tiny_dataset(rows, numerical_features=["size"], discretization=buckets)
    dataset._change_feat_format()
    place, size = dataset.field2token_id["item_id"], dataset.item_feat["size"]
    assert dataset.field2bucketnum["size"] == 4
    for i in range(10):
        assert size[place[f"i{i}"], :, 1].tolist() == [1 + (i > 6), 3], (i, size)


def given_sequences_have_their_lengths() -> None:
    from recbole.data.dataset import SequentialDataset

    dataset = SequentialDataset.__new__(SequentialDataset)
    dataset.config = Settings(LIST_SUFFIX="_list")
    dataset.item_list_length_field, dataset.item_id_list_field = "item_length", "item_id_list"
    dataset.set_field_property = lambda *args: None
    rows = {"item_id": [7, 8, 9], "item_id_list": [[1], [1, 2, 3], [4, 5]]}
    import pandas as pd

    dataset.inter_feat = pd.DataFrame(rows)
    dataset._benchmark_presets()
    assert dataset.inter_feat["item_length"].tolist() == [1, 3, 2]


MISSING = ("NA", "None", "null", "nan")
QUOTED = ('"quoted"', "O'Neil \"Jr")
ODD = (*MISSING, *QUOTED, "001", "1", " spaced ", "Ünï→日本", '"')


def check_texts(texts: tuple[str, ...]) -> None:
    """As ids of users and items, and as a column of the items."""
    head = "user_id:token\titem_id:token\n"
    pairs = "".join(f"{user}\t{item}\n" for user in texts for item in reversed(texts))
    items = "item_id:token\tname:token\n" + "".join(f"{item}\t{item}\n" for item in texts)
    dataset = dataset_of(head + pairs, items)
    dataset._change_feat_format()
    users, found = dataset.field2id_token["user_id"], dataset.field2id_token["item_id"]
    assert users.tolist() == ["[PAD]", *texts], users
    assert found.tolist() == ["[PAD]", *reversed(texts)], found
    assert len(dataset.inter_feat) == len(texts) ** 2
    names = dataset.field2id_token["name"][dataset.item_feat["name"].numpy()]
    assert names.tolist() == ["[PAD]", *reversed(texts)], names


def names_for_nothing_are_texts() -> None:
    check_texts(("a", *MISSING))


def quotation_marks_are_texts() -> None:
    check_texts(("a", *QUOTED))


def odd_texts_stay_as_they_stand() -> None:
    check_texts(ODD)


def words_stay_as_they_stand() -> None:
    texts = [f"{text.strip()} None" for text in ODD[:9]] + ["NA"]
    rows = "".join(f"i{i}\t{text}\n" for i, text in enumerate(texts))
    dataset = tiny_dataset("item_id:token\ttitle:token_seq\n" + rows)
    dataset._change_feat_format()
    place, title = dataset.field2token_id["item_id"], dataset.item_feat["title"]
    for i, text in enumerate(texts):
        words = dataset.field2id_token["title"][title[place[f"i{i}"]].numpy()]
        assert [word for word in words if word != "[PAD]"] == text.split(), (i, words)


def refusal_of(load: Callable[[], Any]) -> str:
    try:
        dataset = load()
    except ValueError as error:
        return str(error)
    raise AssertionError(f"all was read: {dataset.inter_feat}")


def rows_are_as_long_as_the_header() -> None:
    head = "user_id:token\titem_id:token\ttimestamp:float\n"
    rows = "u0\ti0\t1\n\nu0\ti1\nu1\ti0\t9\n"  # line 3 is blank, line 4 lacks its time
    message = refusal_of(lambda: dataset_of(head + rows))
    assert "tiny.inter, line 4: found 2 fields, expected 3" in message, message


def tab_inside_a_text_names_its_line() -> None:
    rows = "item_id:token\tname:token\n" + "i0\tdesk\tlamp\n"
    message = refusal_of(lambda: tiny_dataset(rows))
    assert "tiny.item, line 2: found 3 fields, expected 2" in message, message


def train_and_test(train: str, test: str, distribution: str, alpha: float) -> Any:
    """A sampler over two parts, each a text of one letter an interaction."""
    from recbole.sampler import Sampler

    rows = [f"u{n}\t{item}\n" for n, item in enumerate(train + test)]
    dataset = dataset_of("user_id:token\titem_id:token\n" + "".join(rows))
    dataset._change_feat_format()
    inter = dataset.inter_feat
    parts = [dataset.copy(inter[: len(train)]), dataset.copy(inter[len(train) :])]
    return dataset, Sampler(["train", "test"], parts, distribution, alpha)


def popular_negatives_are_those_of_the_train_part() -> None:
    dataset, sampler = train_and_test("aaaabbbcc", "ddddddddd", "popularity", 0.5)
    np.random.seed(5)
    n = 30000
    drawn = [dataset.field2id_token["item_id"][i] for i in sampler.sampling(n)]
    found = {item: drawn.count(item) for item in "abcd"}
    assert found["d"] == 0, found
    weights = {item: count**0.5 for item, count in (("a", 4), ("b", 3), ("c", 2))}
    expected = {item: n * weight / sum(weights.values()) for item, weight in weights.items()}
    chi_square = sum((found[i] - e) ** 2 / e for i, e in expected.items())
    assert chi_square < 13.8, found  # 2 degrees of freedom: one seed in a thousand exceeds it


def negatives_are_items_at_any_draw() -> None:
    """The least and the largest number that numpy draws, at every place of the alias table."""
    train = "".join(chr(ord("a") + i) * (i + 1) for i in range(20))
    _, sampler = train_and_test(train, "", "popularity", 1.0)
    real = np.random.random, np.random.randint
    np.random.randint = lambda low, high, size: np.arange(size) % (high - low) + low
    try:
        for number in (0.0, np.nextafter(1.0, 0.0)):
            np.random.random = lambda size, number=number: np.full(size, number)
            drawn = sampler.sampling(100)
            assert set(drawn) <= set(range(1, 21)), sorted(set(drawn.tolist()))
    finally:
        np.random.random, np.random.randint = real


def grad_scaler_without_warning() -> None:
    import torch
    from recbole.trainer import trainer

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scaler = trainer.amp.GradScaler(enabled=False)
    loss = torch.tensor(3.0)
    assert scaler.scale(loss) is loss
    assert isinstance(scaler, torch.amp.GradScaler)


def eval_batches_hold_many_users() -> None:
    from recbole.data.utils import create_samplers, get_dataloader

    dataset = tiny_dataset()
    config = dataset.config
    parts = dataset.build()
    samplers = create_samplers(config, dataset, parts)
    loader = get_dataloader(config, "valid")(config, parts[1], samplers[1], shuffle=False)
    sizes = [len(batch[0]) for batch in loader]
    assert sizes == [6], sizes  # eval_batch_size of 20 scores is less than two users' 11 items


def pop_counts_the_train_interactions() -> None:
    import torch
    from recbole.model.general_recommender import Pop

    dataset = tiny_dataset()
    dataset._change_feat_format()
    dataset.config["device"] = torch.device("cpu")
    model = Pop(dataset.config, dataset)
    items = dataset.inter_feat["item_id"]
    for start in range(0, len(items), 20):  # batches that repeat items
        model.calculate_loss({"item_id": items[start : start + 20]})
    expected = np.bincount(items.numpy(), minlength=dataset.item_num)
    assert expected.max() > 1
    assert model.item_cnt[:, 0].tolist() == expected.tolist()


def ties_keep_the_earlier_epoch() -> None:
    from recbole.trainer import trainer

    assert trainer.early_stopping(0.5, 0.5, 0, 2, bigger=True) == (0.5, 1, False, False)
    assert trainer.early_stopping(0.5, 0.5, 0, 2, bigger=False) == (0.5, 1, False, False)
    assert trainer.early_stopping(0.6, 0.5, 1, 2, bigger=True) == (0.6, 0, False, True)
    assert trainer.early_stopping(0.4, 0.5, 1, 2, bigger=False) == (0.4, 0, False, True)
    assert trainer.early_stopping(0.4, 0.5, 1, 2, bigger=True) == (0.5, 2, False, False)
    assert trainer.early_stopping(0.4, 0.5, 2, 2, bigger=True) == (0.5, 3, True, False)


def top_k_metric_unrounded() -> None:
    import torch
    from recbole.evaluator.collector import DataStruct
    from recbole.evaluator.metrics import Recall

    collected = DataStruct()
    collected.set("rec.topk", torch.tensor([[1, 3], [0, 7], [1, 7]]))  # hit at rank 1, positives
    found = Recall(Settings(topk=[1], metric_decimal_place=2)).calculate_metric(collected)
    assert abs(found["recall@1"] - (1 / 3 + 1 / 7) / 3) < 1e-15, found
    assert type(found["recall@1"]) is float


def other_metric_unrounded() -> None:
    import torch
    from recbole.evaluator.collector import DataStruct
    from recbole.evaluator.metrics import ItemCoverage

    collected = DataStruct()
    collected.set("rec.items", torch.tensor([[1], [2]]))
    collected.set("data.num_items", 7)
    config = Settings(topk=[1], metric_decimal_place=2)
    assert ItemCoverage(config).calculate_metric(collected) == {"itemcoverage@1": 2 / 7}


def anomalies_are_not_searched_for() -> None:
    import importlib

    import torch

    importlib.import_module("recbole.model.sequential_recommender.sine")
    assert not torch.is_anomaly_enabled(), "searched for"


def equal_scores_rank_by_lot() -> None:
    import torch
    from recbole.evaluator import collector as collector_module
    from recbole.evaluator.collector import Collector

    config = Settings(
        metrics=["Recall"], topk=[10], eval_args={"mode": {"full": "full"}}, device="cpu"
    )
    collector = Collector(config)
    scores = torch.zeros(8, 1000)
    scores[:, 0] = -torch.inf
    scores[7, 500] = 1.0
    hits = torch.arange(8), torch.tensor([*range(1, 8), 500])
    collector.eval_batch_collect(scores, None, *hits)
    found = collector.get_data_struct().get("rec.topk")[:, :10].sum(dim=1)
    assert found[7] == 1
    assert found[:7].sum() <= 2, "the first ids are ahead"  # of 7 that are among 999 alike
    scores[:, 6:] = -torch.inf  # fewer candidates than the list is long
    listed = collector_module.torch.topk(scores, 10, dim=-1)[1]
    assert (listed > 0).all()
    assert all(len(set(row)) == 10 for row in listed.tolist())
    assert all({1, 2, 3, 4, 5} == set(row[:5]) for row in listed.tolist())


def entropy_as_defined() -> None:
    import math

    import torch
    from recbole.evaluator.collector import DataStruct
    from recbole.evaluator.metrics import ShannonEntropy

    collected = DataStruct()
    collected.set("rec.items", torch.tensor([[1, 2], [1, 3]]))
    found = ShannonEntropy(Settings(topk=[2], metric_decimal_place=9)).calculate_metric(collected)
    expected = -(0.5 * math.log(0.5) + 2 * 0.25 * math.log(0.25))
    assert abs(found["shannonentropy@2"] - expected) < 1e-8, found


def counts_of_items_without_padding() -> None:
    from collections import Counter
    from types import SimpleNamespace

    import torch
    from recbole.evaluator import metrics
    from recbole.evaluator.collector import Collector

    config = Settings(
        metrics=["ItemCoverage", "TailPercentage"], topk=[2], metric_decimal_place=9, device="cpu",
        eval_args={"mode": {"full": "full"}}, ITEM_ID_FIELD="item_id", tail_ratio=0.25,
    )  # fmt: skip
    # Four items, of which the fourth has no train interaction.
    dataset = SimpleNamespace(
        item_num=5, num=lambda field: 5, item_counter=Counter({1: 3, 2: 2, 3: 1})
    )
    collector = Collector(config)
    collector.data_collect(SimpleNamespace(dataset=dataset, _dataset=dataset))
    collector.data_struct.set("rec.items", torch.tensor([[1, 2], [3, 4]]))
    collected = collector.get_data_struct()
    covered = metrics.ItemCoverage(config).calculate_metric(collected)
    assert covered["itemcoverage@2"] == 1.0, covered
    tail = metrics.TailPercentage(config).calculate_metric(collected)
    assert tail["tailpercentage@2"] == 0.25, tail


def finished_bar_is_cleared() -> None:
    from recbole.trainer import trainer

    stream = io.StringIO()
    assert list(trainer.tqdm(range(3), file=stream, mininterval=0, disable=False)) == [0, 1, 2]
    assert "2/3" in stream.getvalue() or "3/3" in stream.getvalue()
    assert "\n" not in stream.getvalue()


def tensorboard_beside_the_run_log() -> None:
    from recbole.trainer import trainer

    logger, start = logging.getLogger("test_compat"), Path.cwd()
    with tempfile.TemporaryDirectory() as elsewhere, tempfile.TemporaryDirectory() as run:
        handler = logging.FileHandler(Path(run, "run.log"))
        handler.set_name("recbole_diffusion")
        logger.addHandler(handler)
        os.chdir(elsewhere)
        try:
            writer = trainer.get_tensorboard(logger)
            writer.add_scalar("loss", 1.0, 0)
            writer.close()
            assert list(Path(elsewhere).iterdir()) == []
            assert list(Path(run, "tensorboard").glob("events.*"))
        finally:
            os.chdir(start)
            logger.removeHandler(handler)
            handler.close()


def collector_with_counts() -> None:
    import torch
    from recbole.evaluator.collector import Collector

    config = tiny_settings("", metrics=["ItemCoverage", "AveragePopularity"])
    collector = Collector(config)
    collector.data_struct.set("data.num_items", 11)
    collector.data_struct.set("data.count_items", {1: 4})
    for evaluation in (1, 2):  # the second starts empty, but for what belongs to the data
        items = torch.tensor([[evaluation]])
        scores = torch.zeros(1, 11).scatter(1, items, 1.0)
        collector.eval_batch_collect(scores, None, torch.tensor([0]), items[0])
        collected = collector.get_data_struct()
        assert torch.equal(collected.get("rec.items"), items)
        assert collected.get("data.num_items") == 11
        assert collected.get("data.count_items") == {1: 4}


def autocast_without_warning() -> None:
    import torch
    from recbole.trainer import trainer

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with trainer.amp.autocast(enabled=False):
            assert not torch.is_autocast_enabled("cuda")


def tiny_model(name: str, **settings: Any) -> Any:
    """A model of the host on the tiny set, without the graph that scipy's change would stop."""
    import torch

    package = importlib.import_module("recbole.model.general_recommender")
    dataset = tiny_dataset(**{"embedding_size": 4, **settings})
    dataset._change_feat_format()

    class Tiny(getattr(package, name)):  # type: ignore[misc]
        def get_norm_adj_mat(self) -> Any:
            return torch.eye(self.n_users + self.n_items).to_sparse()

    return Tiny(dataset.config, dataset)


def pairs(users: list[int], items: list[int]) -> dict[str, Any]:
    import torch

    return {"user_id": torch.tensor(users), "item_id": torch.tensor(items)}


def ngcf_scores_without_draws() -> None:
    import torch

    # Wide: of few units, two draws may leave none that a pair shares, and score it alike.
    drops = {"node_dropout": 0.0, "message_dropout": 0.5, "hidden_size_list": [64]}
    model = tiny_model("NGCF", **drops, reg_weight=0.0)
    drawn = [model()[0] for _ in range(2)]
    assert not torch.equal(*drawn)
    model.eval()
    scored = [model.predict(pairs([1, 2], [3, 4])) for _ in range(2)]
    assert torch.equal(*scored)
    assert model.message_dropout == 0.5


DIFFUSION = {
    "mean_type": "x0", "time-aware": False, "noise_schedule": "linear", "noise_scale": 0.1,
    "noise_min": 0.001, "noise_max": 0.005, "steps": 3, "beta_fixed": True, "norm": False,
    "reweight": True, "sampling_noise": False, "sampling_steps": 0, "mlp_act_func": "tanh",
    "history_num_per_term": 2, "dims_dnn": [5],
}  # fmt: skip
AUTOENCODER = {
    "n_cate": 1, "reparam": True, "ae_act_func": "tanh", "in_dims": [5], "out_dims": [],
    "lamda": 0.03, "anneal_cap": 0.1, "anneal_steps": 9, "vae_anneal_cap": 0.1,
    "vae_anneal_steps": 9,
}  # fmt: skip


def diffusion_scores_pairs() -> None:
    import torch

    for name, settings in (("DiffRec", {}), ("LDiffRec", AUTOENCODER)):
        model = tiny_model(name, **DIFFUSION, **settings).eval()
        batch = pairs([1, 3, 3], [2, 2, 9])
        table = model.full_sort_predict(batch)
        found = model.predict(batch)
        assert found.shape == (3,), f"{name} gives scores of shape {tuple(found.shape)}"
        expected = torch.stack([table[0, 2], table[1, 2], table[2, 9]])
        assert torch.equal(found, expected), name


def diffusion_without_noise() -> None:
    model = tiny_model("DiffRec", **{**DIFFUSION, "noise_scale": 0.0})
    assert model.calculate_loss(pairs([1, 2], [1, 2])).item() > 0
    assert model.eval().full_sort_predict(pairs([1, 2], [1, 2])).isfinite().all()


def enmf_without_padding() -> None:
    import torch

    settings = {"dropout_prob": 0.0, "reg_weight": 0.1, "negative_weight": 0.5}
    torch.manual_seed(1)
    model = tiny_model("ENMF", **settings)
    batch = pairs([1, 2, 3], [1, 2, 3])
    expected = model.calculate_loss(batch).item()
    empty = torch.zeros(model.n_users, 2, dtype=torch.long)
    model.history_item_matrix = torch.cat([model.history_item_matrix, empty], dim=1)
    found = model.calculate_loss(batch).item()
    assert abs(found - expected) < 1e-5, "places of padding change the loss"
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model.calculate_loss(batch).backward()
        optimizer.step()
    assert not model.item_embedding.weight[0].any()


def fism_learns_from_probabilities() -> None:
    import torch

    settings = {"reg_weights": [0.0, 0.0], "alpha": 0.0, "split_to": 1, "LABEL_FIELD": "label"}
    model = tiny_model("FISM", **settings)
    batch = {**pairs([1, 2, 3, 4], [2, 1, 4, 3]), "label": torch.tensor([1.0, 1.0, 0.0, 0.0])}
    table = model.full_sort_predict(batch).view(4, model.n_items)  # before the sigmoid
    scores = table.gather(1, batch["item_id"][:, None])[:, 0].detach().double().numpy()
    probability = 1 / (1 + np.exp(-scores))
    by_hand = -np.log([*probability[:2], *(1 - probability[2:])]).mean()
    assert abs(model.calculate_loss(batch).item() - by_hand) < 1e-6, "another loss"


def random_ranks_for_every_user() -> None:
    model = tiny_model("Random")
    scores = model.full_sort_predict(pairs([1, 2, 3], [1, 1, 1])).view(3, model.n_items)
    assert len({tuple(row.tolist()) for row in scores}) == 3, "one ranking for all users"


NNCF = {
    "ui_embedding_size": 4, "neigh_embedding_size": 3, "num_conv_kernel": 2, "conv_kernel_size": 2,
    "pool_kernel_size": 2, "mlp_hidden_size": [4], "neigh_num": 6, "dropout": 0.0,
    "neigh_info_method": "random", "resolution": 1, "LABEL_FIELD": "label",
}  # fmt: skip


def nncf_neighbours_by_knn() -> None:
    model = tiny_model("NNCF", **{**NNCF, "neigh_info_method": "knn"})
    matrix = model.interaction_matrix.toarray()
    for found, taken in ((model.u_neigh, matrix), (model.i_neigh, matrix.T)):
        for node in range(1, len(taken)):
            direct = set(taken[node].nonzero()[0].tolist())
            assert 0 < len(direct) <= 5
            assert set(found[node].tolist()[: len(direct)]) == direct


def ncl_with_too_many_clusters() -> None:
    settings = {"hyper_layers": 1, "n_layers": 1}
    assert tiny_model("NCL", **settings, num_clusters=7).k == 7
    message = error_of(ValueError, lambda: tiny_model("NCL", **settings, num_clusters=8))
    assert "key `num_clusters`: found 8, expected at most 7" in message


def line_with_an_item_of_every_user() -> None:
    package = importlib.import_module("recbole.model.general_recommender")
    rows = "user_id:token\titem_id:token\nu1\ti1\nu2\ti1\nu3\ti1\nu1\ti2\n"
    settings = {"embedding_size": 4, "order": 2, "second_order_loss_weight": 1}
    dataset = dataset_of(rows, **settings)
    dataset._change_feat_format()
    message = error_of(ValueError, lambda: package.LINE(dataset.config, dataset))
    assert "1 items, such as 'i1', have been met by all" in message
    assert tiny_model("LINE", **settings).n_items == 11


class Spoiled:
    """Says so when it is unpickled."""

    unpickled: list[bool] = []

    def __reduce__(self) -> Any:
        return Spoiled.unpickled.append, (True,)


def item_vectors_without_pickle() -> None:
    module = importlib.import_module("recbole.model.general_recommender.ldiffrec")
    with tempfile.TemporaryDirectory() as folder:
        plain, spoiled = Path(folder, "plain.npy"), Path(folder, "item_emb.npy")
        np.save(plain, np.arange(6.0))
        assert module.np.load(str(plain), allow_pickle=True).tolist() == [0, 1, 2, 3, 4, 5]
        np.save(spoiled, np.array([Spoiled()], dtype=object), allow_pickle=True)
        refused = error_of(ValueError, lambda: module.np.load(str(spoiled), allow_pickle=True))
        assert "allow_pickle" in refused
        missing = error_of(ValueError, lambda: module.np.load(str(plain) + "x", allow_pickle=True))
        assert "n_cate" in missing
    assert Spoiled.unpickled == []


RACT = {
    "mlp_hidden_size": [5], "latent_dimension": 4, "dropout_prob": 0.5, "anneal_cap": 0.2,
    "total_anneal_steps": 9, "critic_layers": [4], "metrics_k": 3, "train_stage": "actor_pretrain",
    "pre_model_path": "",
}  # fmt: skip


def ract_logs_its_pretrained_file() -> None:
    import torch

    actor = tiny_model("RaCT", **RACT)
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    root, level = logging.getLogger(), logging.getLogger().level
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "actor.pth"))
        torch.save({"state_dict": actor.state_dict()}, path)
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        try:
            tiny_model("RaCT", **{**RACT, "train_stage": "finetune", "pre_model_path": path})
        finally:
            root.removeHandler(handler)
            root.setLevel(level)
    assert [text for text in records if path in text] == [f"Load pretrained model from {path}"]


def checkpoints_hold_what_scores() -> None:
    import torch

    slim = {"lambda1": 3.0, "lambda2": 20.0, "alpha": 0.5, "rho": 400.0, "k": 9}
    slim |= {"positive_only": True, "center_columns": False}
    plec = {"beta": 1.0, "rank": 4, "reg_weight": 1.0}
    cases = (
        ("NNCF", NNCF, {"seed": 2}),
        ("NCEPLRec", plec, {"rank": 1}),
        ("ADMMSLIM", slim, {"lambda1": 0.1}),
    )
    batch = pairs([1, 2, 3, 4], [2, 5, 6, 9])
    for name, settings, change in cases:
        models = []
        for seed, changed in ((1, {}), (2, change)):
            torch.manual_seed(seed)
            np.random.seed(seed)
            models.append(tiny_model(name, **{**settings, **changed}).eval())
        first, second = models
        second.load_state_dict(first.state_dict())
        second.load_other_parameter(first.other_parameter())
        scores = [model.predict(batch) for model in models]
        assert torch.allclose(*scores, atol=1e-4), f"{name} scores otherwise: {scores}"


# By patch: a snippet, and what its failure on the plain host says.
def the_host_reads_what_it_wrote() -> None:
    trainer = importlib.import_module("recbole.trainer.trainer")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "model.pth"))
        trainer.torch.save({"config": Settings(seed=3)}, path, pickle_protocol=4)
        assert trainer.torch.load(path, map_location="cpu")["config"]["seed"] == 3


class Trap:
    """What a harmful file holds: a call that runs when it is unpickled."""

    sprung: list[str] = []

    def __reduce__(self) -> Any:
        return Trap.sprung.append, ("unpickled",)


def pickles_of_others_stay_closed() -> None:
    import torch

    modules = [importlib.import_module("recbole.trainer.trainer")]
    modules += host_modules_with("= torch.load(")
    quick_start = importlib.import_module("recbole.quick_start")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "model.pth"))
        modules[0].torch.save({"config": Settings(seed=3)}, path)
        torch.save({"config": Trap()}, path)  # another file in the place of the written one
        readers = [module.torch.load for module in modules if hasattr(module, "torch")]
        for read in (*readers, quick_start.load_data_and_model):
            message = error_of(ValueError, lambda read=read: read(path))
            assert "model.pth: holds pickled objects" in message, message
            assert "recbole_diffusion.load_run(" in message, message
    assert Trap.sprung == []


def names_that_the_host_does_not_know() -> None:
    from recbole.utils import get_model

    message = error_of(ValueError, lambda: get_model("NoSuchModel"))
    assert message.startswith("model 'NoSuchModel': RecBole has no model of this name;"), message
    message = error_of(ValueError, lambda: get_model("InfoDCL"))
    assert "recbole_diffusion.run_recbole_diffusion(model='InfoDCL')" in message, message
    assert get_model("BPR").__module__.startswith("recbole.")


def the_last_line_of_a_run_needs_no_package() -> None:
    from recbole.utils import get_environment

    there = sys.modules.get("psutil")
    sys.modules["psutil"] = None  # type: ignore[assignment]
    try:
        line = get_environment(tiny_settings("")).draw()
    finally:
        del sys.modules["psutil"]
        if there is not None:
            sys.modules["psutil"] = there
    assert "`psutil`: pip install psutil" in line, line


SNIPPETS: dict[str, tuple[tuple[Callable[[], None], str], ...]] = {
    "defer_ray": ((quick_start_without_ray, "ray"),),
    "defer_kmeans": ((recommenders_without_kmeans, "kmeans_pytorch"),),
    "keep_numpy_names": (
        (metrics_by_hand, "no attribute 'float'"),
        (interactions_of_lists_and_arrays, "no attribute 'float'"),
        (every_module_with_a_removed_numpy_name, "no attribute '(long|float)'"),
        (config_leaves_numpy_alone, "np.float_|not in before"),  # last: it may change numpy
    ),
    "restore_dok_update": (
        (lightgcn_adjacency, "_update"),
        (every_model_that_updates_a_dok_matrix, "_update"),
    ),
    "use_current_sparse_tensors": ((sparse_tensors_without_warning, "deprecated|invariant"),),
    "copy_columns": ((tensors_own_their_memory, "not writable"),),
    "measure_sequences_by_row": (
        (sequences, "Length of values"),
        (sequences_of_numbers_are_scaled, "Length of values"),
        (sequences_of_numbers_are_put_in_buckets, "Length of values"),
        (given_sequences_have_their_lengths, r"\[3, 3, 3\]|AssertionError"),
    ),
    "read_text_as_it_stands": (
        (names_for_nothing_are_texts, "AssertionError"),
        (quotation_marks_are_texts, "AssertionError"),
        (odd_texts_stay_as_they_stand, "ParserError"),
        (words_stay_as_they_stand, "AssertionError|ParserError"),
        (rows_are_as_long_as_the_header, "AssertionError: all was read"),
        (tab_inside_a_text_names_its_line, "AssertionError: all was read"),
    ),
    "sample_train_popularity": (
        (popular_negatives_are_those_of_the_train_part, "AssertionError.*'d': [1-9]"),
        (negatives_are_items_at_any_draw, r"AssertionError: \[-1"),
    ),
    "fill_missing_values": (
        (missing_floats_and_tokens, "AssertionError|NaN"),
        (empty_sequences, "'float' object has no attribute 'split'"),
    ),
    "use_current_grad_scaler": ((grad_scaler_without_warning, "FutureWarning"),),
    "count_eval_batches_in_users": ((eval_batches_hold_many_users, r"\[1, 1, 1, 1, 1, 1\]"),),
    "count_every_interaction": ((pop_counts_the_train_interactions, "AssertionError"),),
    "keep_earlier_epoch_on_ties": ((ties_keep_the_earlier_epoch, "AssertionError"),),
    "leave_metrics_unrounded": (
        (top_k_metric_unrounded, "AssertionError.*0.16"),
        (other_metric_unrounded, "AssertionError"),
    ),
    "leave_anomaly_mode": ((anomalies_are_not_searched_for, "searched for"),),
    "rank_ties_by_lot": ((equal_scores_rank_by_lot, "the first ids are ahead"),),
    "leave_entropy_undivided": ((entropy_as_defined, "AssertionError.*0.34"),),
    "count_items_without_padding": (
        (counts_of_items_without_padding, r"AssertionError.*0\.8|no attribute 'cpu'"),
    ),
    "clear_finished_bars": ((finished_bar_is_cleared, "AssertionError"),),
    "keep_tensorboard_in_run_folder": ((tensorboard_beside_the_run_log, "AssertionError"),),
    "collect_plain_values": ((collector_with_counts, "no attribute 'cpu'"),),
    "use_current_autocast": ((autocast_without_warning, "FutureWarning"),),
    "drop_messages_in_training_only": ((ngcf_scores_without_draws, "AssertionError"),),
    "score_pairs_by_diffusion": ((diffusion_scores_pairs, r"shape \(3, 3\)"),),
    "allow_diffusion_without_noise": ((diffusion_without_noise, "no attribute 'betas'"),),
    "keep_padding_out_of_enmf": ((enmf_without_padding, "change the loss"),),
    "learn_fism_from_probabilities": ((fism_learns_from_probabilities, "another loss"),),
    "draw_for_every_user": ((random_ranks_for_every_user, "one ranking for all users"),),
    "find_neighbours_by_method": ((nncf_neighbours_by_knn, "TypeError"),),
    "refuse_more_clusters_than_nodes": ((ncl_with_too_many_clusters, "accepted without"),),
    "refuse_items_of_every_user": ((line_with_an_item_of_every_user, "accepted without"),),
    "read_item_vectors_without_pickle": ((item_vectors_without_pickle, "accepted without"),),
    "log_the_pretrained_file": ((ract_logs_its_pretrained_file, "not all arguments converted"),),
    "read_own_checkpoints": (
        (the_host_reads_what_it_wrote, "UnpicklingError"),
        (pickles_of_others_stay_closed, "UnpicklingError"),
    ),
    "name_unknown_models": ((names_that_the_host_does_not_know, "lightgbm|AssertionError"),),
    "end_without_psutil": ((the_last_line_of_a_run_needs_no_package, "psutil"),),
    "store_what_scores": ((checkpoints_hold_what_scores, "NNCF scores otherwise"),),
}


class Hider(MetaPathFinder):
    """Makes optional packages look absent, and remembers who asked for them."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] in HIDDEN:
            self.asked.append(name)
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def outcome(snippet: Callable[[], None]) -> str:
    """Empty if the snippet passes, else the error with its last line of code."""
    try:
        snippet()
    except Exception as error:
        line = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {error} at {Path(line.filename).name}: {line.line}"
    return ""


def clear_the_way(patch: str) -> None:
    """On the plain host: put away a fault that was shown, for the snippets behind it."""
    if patch in ("defer_ray", "defer_kmeans"):
        package, name = {"defer_ray": HIDDEN[0], "defer_kmeans": HIDDEN[1]}[patch], "tune"
        stand_in = ModuleType(package)
        setattr(stand_in, name if package == "ray" else "kmeans", None)
        sys.modules[package] = stand_in
    if patch == "keep_numpy_names":
        vars(np).update(float=np.float64, long=np.int64)


def snapshot(modules: list[Any]) -> dict[str, dict[str, Any]]:
    return {module.__name__: dict(vars(module)) for module in modules}


def side_effects(hider: Hider) -> dict[str, Any]:
    """What the import of the package, and a Config of ours, change outside ``recbole``."""
    import pandas
    import scipy
    import scipy.sparse
    import torch
    import torch.amp
    import torch.cuda.amp
    import torch.utils.tensorboard
    import tqdm
    import yaml

    loaders = (yaml.SafeLoader, yaml.FullLoader, yaml.UnsafeLoader, yaml.Loader)

    def resolvers() -> list[Any]:
        return [
            {key: list(rules) for key, rules in loader.yaml_implicit_resolvers.items()}
            for loader in loaders
        ]

    names = [np, scipy, scipy.sparse, pandas, torch, torch.amp, torch.cuda.amp, tqdm, yaml]
    before, rules = snapshot(names), resolvers()
    environment = dict(os.environ)

    import recbole_diffusion  # noqa: F401
    from recbole_diffusion.settings.config import Config

    Config("BPR", "ml-100k", (), {"learning_rate": 1e-3})
    after = snapshot(names)
    changed = [
        f"{module}.{name}"
        for module, was in before.items()
        for name, value in was.items()
        if after[module].get(name) is not value
    ]
    added = [
        f"{module}.{name}"
        for module, now in after.items()
        for name, value in now.items()
        if name not in before[module]
        and not isinstance(value, ModuleType)
        and name != "__warningregistry__"
    ]
    return {
        "changed": changed,
        "added": added,
        "same_resolvers": resolvers() == rules,
        "safe_load": yaml.safe_load("1e-3"),
        "full_load": yaml.full_load("1e-3"),
        "environment": sorted(set(environment.items()) ^ set(os.environ.items())),
        "in_modules": [name for name in HIDDEN if name in sys.modules],
        "asked_for": list(hider.asked),
        "dok_has_update": hasattr(scipy.sparse.dok_matrix, "_update"),
    }


def main(mode: str) -> dict[str, Any]:
    sys.argv = sys.argv[:1]  # the host's Config reads it
    hider = Hider()
    sys.meta_path.insert(0, hider)
    result: dict[str, Any] = {}
    if mode == "patched":
        result["side_effects"] = side_effects(hider)
    result["outcome"] = {}
    for patch, snippets in SNIPPETS.items():
        for snippet, _ in snippets:
            result["outcome"][snippet.__name__] = outcome(snippet)
        if mode == "plain":
            clear_the_way(patch)
    return result


def run_script(mode: str) -> dict[str, Any]:
    import recbole_diffusion

    parents = [str(Path(recbole_diffusion.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, parents))}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, str(HERE), mode, str(Path(folder, "result.json"))],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(Path(folder, "result.json").read_text())


@pytest.fixture(scope="module")
def patched() -> dict[str, Any]:
    return run_script("patched")


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    return run_script("plain")


CASES = [
    pytest.param(patch, snippet.__name__, fault, id=f"{patch}-{snippet.__name__}")
    for patch, snippets in SNIPPETS.items()
    for snippet, fault in snippets
]
pytestmark = pytest.mark.compat


def test_every_patch_has_a_snippet() -> None:
    from recbole_diffusion.repairs import PATCHES

    assert [patch.name for patch in PATCHES if not SNIPPETS.get(patch.name)] == []
    assert set(SNIPPETS) == {patch.name for patch in PATCHES}
    assert len(PATCHES) == len({patch.name for patch in PATCHES})
    assert all(patch.reason for patch in PATCHES)


def test_every_patch_is_documented() -> None:
    from recbole_diffusion.repairs import PATCHES

    text = HERE.parents[1].joinpath("docs", "host.md").read_text(encoding="utf-8")
    assert [patch.name for patch in PATCHES if f"| `{patch.name}` |" not in text] == []


@pytest.mark.parametrize(("patch", "snippet", "fault"), CASES)
def test_repaired(patched: dict[str, Any], patch: str, snippet: str, fault: str) -> None:
    assert patched["outcome"][snippet] == ""


@pytest.mark.parametrize(("patch", "snippet", "fault"), CASES)
def test_plain_host_fails_just_where_the_patch_is_needed(
    plain: dict[str, Any], patch: str, snippet: str, fault: str
) -> None:
    from recbole_diffusion.repairs import PATCHES

    needed = {p.name: p.is_needed() for p in PATCHES}[patch]
    found = plain["outcome"][snippet]
    assert bool(found) == needed, found
    if needed:
        assert re.search(fault, found), found


def test_other_packages_keep_their_names(patched: dict[str, Any]) -> None:
    effects = patched["side_effects"]
    assert effects["changed"] == []
    assert effects["added"] == []
    assert not {"float", "int", "object", "complex"} & set(vars(np))


def test_scipy_gets_no_method_back(patched: dict[str, Any]) -> None:
    import scipy.sparse as sp

    assert patched["side_effects"]["dok_has_update"] == hasattr(sp.dok_matrix, "_update")


def test_yaml_loaders_keep_their_rules(patched: dict[str, Any]) -> None:
    effects = patched["side_effects"]
    assert effects["same_resolvers"]
    assert effects["safe_load"] == "1e-3"
    assert effects["full_load"] == "1e-3"


def test_optional_packages_are_neither_imported_nor_faked(patched: dict[str, Any]) -> None:
    effects = patched["side_effects"]
    assert effects["in_modules"] == []
    assert effects["asked_for"] == []


def test_environment_is_left_alone(patched: dict[str, Any]) -> None:
    assert patched["side_effects"]["environment"] == []


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(main(sys.argv[1])))

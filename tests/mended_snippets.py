"""Faults of RecBole's classes that ours mend; RecBole's own keep them, after our import too."""

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from compat_tools import (
    Settings,
    dataset_of,
    error_of,
    metric,
    model_class,
    pairs,
    part,
    tiny_dataset,
    tiny_model,
    tiny_settings,
)

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
    rows = [f"u{n}\t{item}\n" for n, item in enumerate(train + test)]
    dataset = dataset_of("user_id:token\titem_id:token\n" + "".join(rows))
    dataset._change_feat_format()
    inter = dataset.inter_feat
    parts = [dataset.copy(inter[: len(train)]), dataset.copy(inter[len(train) :])]
    return dataset, part("Sampler")(["train", "test"], parts, distribution, alpha)


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


def eval_batches_hold_many_users() -> None:
    from recbole.data.dataloader import FullSortEvalDataLoader
    from recbole.data.utils import create_samplers

    dataset = tiny_dataset()
    config = dataset.config
    parts = dataset.build()
    sampler = create_samplers(config, dataset, parts)[1]
    kind = part("FullSortEvalDataLoader")
    known = sampler if kind is FullSortEvalDataLoader else parts[:1]  # what users have met
    loader = kind(config, parts[1], known, shuffle=False)
    sizes = [len(batch[0]) for batch in loader]
    assert sizes == [6], sizes  # eval_batch_size of 20 scores is less than two users' 11 items


def pop_counts_the_train_interactions() -> None:
    import torch

    dataset = tiny_dataset()
    dataset._change_feat_format()
    dataset.config["device"] = torch.device("cpu")
    model = model_class("Pop")(dataset.config, dataset)
    items = dataset.inter_feat["item_id"]
    for start in range(0, len(items), 20):  # batches that repeat items
        model.calculate_loss({"item_id": items[start : start + 20]})
    expected = np.bincount(items.numpy(), minlength=dataset.item_num)
    assert expected.max() > 1
    assert model.item_cnt[:, 0].tolist() == expected.tolist()


def top_k_metric_unrounded() -> None:
    import torch
    from recbole.evaluator.collector import DataStruct

    collected = DataStruct()
    collected.set("rec.topk", torch.tensor([[1, 3], [0, 7], [1, 7]]))  # hit at rank 1, positives
    found = metric("Recall")(Settings(topk=[1], metric_decimal_place=2)).calculate_metric(collected)
    assert abs(found["recall@1"] - (1 / 3 + 1 / 7) / 3) < 1e-15, found
    assert type(found["recall@1"]) is float


def other_metric_unrounded() -> None:
    import torch
    from recbole.evaluator.collector import DataStruct

    collected = DataStruct()
    collected.set("rec.items", torch.tensor([[1], [2]]))
    collected.set("data.num_items", 7)
    config = Settings(topk=[1], metric_decimal_place=2)
    assert metric("ItemCoverage")(config).calculate_metric(collected) == {"itemcoverage@1": 2 / 7}


def equal_scores_rank_by_lot() -> None:
    import torch

    config = Settings(
        metrics=["Recall"], topk=[10], eval_args={"mode": {"full": "full"}}, device="cpu"
    )
    collector = part("Collector")(config)
    scores = torch.zeros(8, 1000)
    scores[:, 0] = -torch.inf
    scores[7, 500] = 1.0
    hits = torch.arange(8), torch.tensor([*range(1, 8), 500])
    collector.eval_batch_collect(scores, None, *hits)
    found = collector.get_data_struct().get("rec.topk")[:, :10].sum(dim=1)
    assert found[7] == 1
    assert found[:7].sum() <= 2, "the first ids are ahead"  # of 7 that are among 999 alike
    scores[:, 6:] = -torch.inf  # fewer candidates than the list is long
    collector.register = type("Register", (), {"need": lambda self, name: name == "rec.items"})()
    collector.eval_batch_collect(scores, None, *hits)
    listed = collector.get_data_struct().get("rec.items")
    assert (listed > 0).all()
    assert all(len(set(row)) == 10 for row in listed.tolist())
    assert all({1, 2, 3, 4, 5} == set(row[:5]) for row in listed.tolist())


def entropy_as_defined() -> None:
    import math

    import torch
    from recbole.evaluator.collector import DataStruct

    collected = DataStruct()
    collected.set("rec.items", torch.tensor([[1, 2], [1, 3]]))
    found = metric("ShannonEntropy")(Settings(topk=[2], metric_decimal_place=9)).calculate_metric(
        collected
    )
    expected = -(0.5 * math.log(0.5) + 2 * 0.25 * math.log(0.25))
    assert abs(found["shannonentropy@2"] - expected) < 1e-8, found


def counts_of_items_without_padding() -> None:
    from collections import Counter
    from types import SimpleNamespace

    import torch

    config = Settings(
        metrics=["ItemCoverage", "TailPercentage"], topk=[2], metric_decimal_place=9, device="cpu",
        eval_args={"mode": {"full": "full"}}, ITEM_ID_FIELD="item_id", tail_ratio=0.25,
    )  # fmt: skip
    # Four items, of which the fourth has no train interaction.
    dataset = SimpleNamespace(
        item_num=5, num=lambda field: 5, item_counter=Counter({1: 3, 2: 2, 3: 1})
    )
    collector = part("Collector")(config)
    collector.data_collect(SimpleNamespace(dataset=dataset, _dataset=dataset))
    collector.data_struct.set("rec.items", torch.tensor([[1, 2], [3, 4]]))
    collected = collector.get_data_struct()
    covered = metric("ItemCoverage")(config).calculate_metric(collected)
    assert covered["itemcoverage@2"] == 1.0, covered
    tail = metric("TailPercentage")(config).calculate_metric(collected)
    assert tail["tailpercentage@2"] == 0.25, tail


def collector_with_counts() -> None:
    import torch

    config = tiny_settings("", metrics=["ItemCoverage", "AveragePopularity"])
    collector = part("Collector")(config)
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


def ncl_with_too_many_clusters() -> None:
    settings = {"hyper_layers": 1, "n_layers": 1}
    assert tiny_model("NCL", **settings, num_clusters=7).k == 7
    message = error_of(ValueError, lambda: tiny_model("NCL", **settings, num_clusters=8))
    assert "key `num_clusters`: found 8, expected at most 7" in message


def line_with_an_item_of_every_user() -> None:
    rows = "user_id:token\titem_id:token\nu1\ti1\nu2\ti1\nu3\ti1\nu1\ti2\n"
    settings = {"embedding_size": 4, "order": 2, "second_order_loss_weight": 1}
    dataset = dataset_of(rows, **settings)
    dataset._change_feat_format()
    message = error_of(ValueError, lambda: model_class("LINE")(dataset.config, dataset))
    assert "1 items, such as 'i1', have been met by all" in message
    assert tiny_model("LINE", **settings).n_items == 11


class Spoiled:
    """Says so when it is unpickled."""

    unpickled: list[bool] = []

    def __reduce__(self) -> Any:
        return tell_unpickled, ()


def tell_unpickled() -> None:
    Spoiled.unpickled.append(True)


def item_vectors_without_pickle() -> None:
    with tempfile.TemporaryDirectory() as folder:
        dataset = tiny_dataset(embedding_size=4, **{**DIFFUSION, **AUTOENCODER, "n_cate": 2})
        dataset._change_feat_format()
        dataset.dataset_path = folder
        vectors = Path(folder, "item_emb.npy")

        def make() -> Any:
            return model_class("LDiffRec")(dataset.config, dataset)

        Spoiled.unpickled.clear()
        missing = error_of(Exception, make)
        np.save(vectors, np.array([Spoiled()], dtype=object), allow_pickle=True)
        try:
            refused = error_of(Exception, make)
        finally:
            assert Spoiled.unpickled == [], "unpickled"
        assert "item_emb.npy: found no plain numbers" in refused
        assert "n_cate" in missing


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


# By what is mended: a snippet, and what its failure says with RecBole's class.
MENDED: dict[str, tuple[tuple[Callable[[], None], str], ...]] = {
    "text as it stands": (
        (names_for_nothing_are_texts, "AssertionError"),
        (quotation_marks_are_texts, "AssertionError"),
        (odd_texts_stay_as_they_stand, "ParserError"),
        (words_stay_as_they_stand, "AssertionError|ParserError"),
        (rows_are_as_long_as_the_header, "AssertionError: all was read"),
        (tab_inside_a_text_names_its_line, "AssertionError: all was read"),
    ),
    "negatives by popularity": (
        (popular_negatives_are_those_of_the_train_part, "AssertionError.*'d': [1-9]"),
        (negatives_are_items_at_any_draw, r"AssertionError: \[-1"),
    ),
    "users of an evaluation batch": ((eval_batches_hold_many_users, r"\[1, 1, 1, 1, 1, 1\]"),),
    "unrounded metrics": (
        (top_k_metric_unrounded, "AssertionError.*0.16"),
        (other_metric_unrounded, "AssertionError"),
    ),
    "equal scores": ((equal_scores_rank_by_lot, "the first ids are ahead"),),
    "entropy": ((entropy_as_defined, "AssertionError.*0.34"),),
    "counts without padding": (
        (counts_of_items_without_padding, r"AssertionError.*0\.8|no attribute 'cpu'"),
    ),
    "counts": ((collector_with_counts, "no attribute 'cpu'"),),
    "Pop": ((pop_counts_the_train_interactions, "AssertionError"),),
    "NGCF": ((ngcf_scores_without_draws, "AssertionError"),),
    "DiffRec": (
        (diffusion_scores_pairs, r"shape \(3, 3\)"),
        (diffusion_without_noise, "no attribute 'betas'"),
    ),
    "ENMF": ((enmf_without_padding, "change the loss"),),
    "FISM": ((fism_learns_from_probabilities, "another loss"),),
    "Random": ((random_ranks_for_every_user, "one ranking for all users"),),
    "NCL": ((ncl_with_too_many_clusters, "accepted without"),),
    "LINE": ((line_with_an_item_of_every_user, "accepted without"),),
    "LDiffRec": ((item_vectors_without_pickle, "unpickled"),),
    "RaCT": ((ract_logs_its_pretrained_file, "not all arguments converted"),),
    "what checkpoints keep": ((checkpoints_hold_what_scores, "NNCF scores otherwise"),),
}
# In RecBole 1.2.0 alone, and from 1.2.1 on.
ONLY_1_2_0 = ("NGCF", "DiffRec")
FROM_1_2_1 = ("counts",)

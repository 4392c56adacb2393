"""What our dataset class mends: each test shows the fault on RecBole's own class, and its absence.

Patches touch none of the methods in question, so the host's ``Dataset`` stands for the plain host;
where our ``Config`` would refuse a setting, it is put in after that check.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from recbole.data.dataset import Dataset

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.data.dataset import AtomicDataset
from recbole_diffusion.data.numbers import numbered, plain_whole_numbers
from recbole_diffusion.data.split import Split, load_split
from recbole_diffusion.runs.quick_start import run_recbole_diffusion
from recbole_diffusion.settings.config import Config

pytestmark = pytest.mark.compat

HEAD = ["user_id:token", "item_id:token"]
TIMED = [*HEAD, "timestamp:float"]
PAIRS = [[f"u{u}", f"i{(u + i) % 12}"] for u in range(6) for i in range(10)]
PARTS = ["train", "valid", "test"]
SMALL = {"topk": [1, 2], "valid_metric": "Recall@2", "show_progress": False}
GIVEN = {
    "train__inter": [HEAD, *(pair for row, pair in enumerate(PAIRS) if row % 10 < 8)],
    "valid__inter": [HEAD, *PAIRS[8::10]],
    "test__inter": [HEAD, *PAIRS[9::10]],
}


def settings(path: Path, **keys: Any) -> Config:
    return Config("BPR", "mine", (), {"data_path": str(path), **SMALL, **keys})


def split_own(path: Path, **keys: Any) -> Split:
    return load_split(settings(path, **keys))


def hosts_dataset(path: Path, forced: dict[str, Any] | None = None, **keys: Any) -> Any:
    """RecBole's dataset; ``forced`` are keys that our check refuses."""
    config = settings(path, **keys)
    for key, value in (forced or {}).items():
        config[key] = value
    return Dataset(config)


def pairs_of(dataset: Any) -> list[tuple[str, str]]:
    users, items = (dataset.field2id_token[field] for field in ("user_id", "item_id"))
    inter = dataset.inter_feat
    rows = zip(inter["user_id"].tolist(), inter["item_id"].tolist(), strict=True)
    return [(str(users[u]), str(items[i])) for u, i in rows]


# Given splits: filters and repeated pairs


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("user_inter_num_interval", "[99,inf)"),
        ("item_inter_num_interval", "(0,1]"),
        ("val_interval", {"user_id": ["u0"]}),
        ("filter_inter_by_user_or_item", True),
    ],
)
def test_filters_beside_a_given_split_are_refused(
    write_dataset: Callable[..., Path], key: str, value: Any
) -> None:
    path = write_dataset("mine", **GIVEN, item=[HEAD[1:], ["i0"], ["i1"]])
    keys = {"benchmark_filename": PARTS, "load_col": None}
    host = hosts_dataset(path, {"filter_inter_by_user_or_item": False, key: value}, **keys)
    assert pairs_of(host) == [tuple(p) for rows in GIVEN.values() for p in rows[1:]]  # all of them
    with pytest.raises(UserError, match=f"key `{key}`: found .* beside benchmark_filename"):
        settings(path, **keys, **{key: value})


def test_filters_that_take_all_do_not_harm_a_given_split(
    write_dataset: Callable[..., Path],
) -> None:
    path = write_dataset("mine", **GIVEN)
    for interval in (None, "[0,inf)", "(-1, inf]", "[0,2];[0,inf)"):
        keys = dict.fromkeys(("user_inter_num_interval", "item_inter_num_interval"), interval)
        split = split_own(path, benchmark_filename=PARTS, **keys)
        assert list(split.sizes.values()) == [48, 6, 6]


@pytest.fixture
def repeating(write_dataset: Callable[..., Path]) -> Path:
    """u0 i0 stands in every part, twice in train; u1 i9 in train (as u1 has i1..i10) and test."""
    rows = {name: list(part) for name, part in GIVEN.items()}
    rows["train__inter"] += [["u0", "i0"]]
    rows["valid__inter"] += [["u0", "i0"]]
    rows["test__inter"] += [["u0", "i0"], ["u1", "i1"]]
    return write_dataset("mine", **rows)


def test_repeated_pairs_of_a_given_split_are_counted(repeating: Path) -> None:
    keys = {"benchmark_filename": PARTS}
    assert len(hosts_dataset(repeating, **keys)) == 64  # no word about them
    with pytest.raises(UserError, match="4 interactions repeat a user and item") as error:
        split_own(repeating, **keys)
    counts = "within train: 1, between train and valid: 1, between train and test: 2, "
    assert f"({counts}between valid and test: 1); key `rm_dup_inter`" in str(error.value)


@pytest.mark.parametrize(
    ("keep", "sizes", "place"),
    [("first", [48, 6, 6], "train"), ("last", [46, 6, 8], "test")],
)
def test_repeated_pairs_of_a_given_split_are_kept_once(
    repeating: Path, keep: str, sizes: list[int], place: str
) -> None:
    keys = {"benchmark_filename": PARTS, "rm_dup_inter": keep}
    host = hosts_dataset(repeating, **keys)
    assert sum(host.file_size_list) == len(pairs_of(host)) == 64  # the key does nothing
    split = split_own(repeating, **keys)
    assert list(split.sizes.values()) == sizes
    loaders = {"train": split.train, "valid": split.valid, "test": split.test}
    holders = {n: ("u0", "i0") in pairs_of(part._dataset) for n, part in loaders.items()}
    assert [name for name, holds in holders.items() if holds] == [place]
    found = [pair for part in loaders.values() for pair in pairs_of(part._dataset)]
    assert sorted(found) == sorted(map(tuple, PAIRS))


def test_part_that_repeats_another_whole_is_empty_afterwards(
    write_dataset: Callable[..., Path],
) -> None:
    path = write_dataset("mine", **{**GIVEN, "valid__inter": GIVEN["test__inter"]})
    with pytest.raises(UserError, match="the test part is empty"):
        split_own(path, benchmark_filename=PARTS, rm_dup_inter="first")


@pytest.mark.parametrize("keep", ["first", "last"])
def test_which_of_equal_pairs_is_by_time_and_then_by_row(
    write_dataset: Callable[..., Path], rng: np.random.Generator, keep: str
) -> None:
    """300 pairs, each four times at one of two times; the rating is the row."""
    pairs = [[f"u{n % 20}", f"i{n // 20}"] for n in rng.permutation(np.repeat(range(300), 4))]
    times = rng.integers(2, size=len(pairs))
    rows = [[*p, f"{t}", f"{n}"] for n, (p, t) in enumerate(zip(pairs, times, strict=True))]
    path = write_dataset("mine", inter=[[*TIMED, "row:float"], *rows])
    keys = {"load_col": None, "rm_dup_inter": keep}
    chosen: dict[tuple[str, str], tuple[int, int]] = {}
    for n, (pair, time) in enumerate(zip(pairs, times, strict=True)):
        place = (int(time), n)
        old = chosen.setdefault(tuple(pair), place)
        chosen[tuple(pair)] = min(old, place) if keep == "first" else max(old, place)
    expected = sorted(row for _, row in chosen.values())
    assert sorted(hosts_dataset(path, **keys).inter_feat["row"].astype(int)) != expected
    data = AtomicDataset(settings(path, **keys))
    assert data.inter_feat["row"].tolist() == expected  # the rows stay in their order


def test_rows_without_an_id_are_left_out_and_no_others(
    write_dataset: Callable[..., Path],
) -> None:
    rows = [HEAD, *PAIRS[:5], ["", "i0"], *PAIRS[5:10], ["u0", ""], *PAIRS[10:]]
    path = write_dataset("mine", inter=rows)
    host = hosts_dataset(path)
    assert pairs_of(host) != [tuple(pair) for pair in PAIRS]  # it drops the row behind
    assert pairs_of(AtomicDataset(settings(path))) == [tuple(pair) for pair in PAIRS]


# Values of filters


@pytest.mark.parametrize("key", ["user_inter_num_interval", "item_inter_num_interval"])
@pytest.mark.parametrize("value", ["5,inf", "[5,inf", "[7,5]", "[5]", "[a,b]", "", "[5,nan]"])
def test_malformed_interval_is_refused(
    write_dataset: Callable[..., Path], key: str, value: Any
) -> None:
    path = write_dataset("mine", inter=[HEAD, *PAIRS])
    with pytest.raises(UserError, match=f"key `{key}`.*expected intervals such as"):
        settings(path, **{key: value})


def test_host_reads_a_malformed_interval_as_none(write_dataset: Callable[..., Path]) -> None:
    path = write_dataset("mine", inter=[HEAD, *PAIRS])
    host = hosts_dataset(path, {"user_inter_num_interval": "99,inf"})
    assert len(host) == len(PAIRS)


@pytest.mark.parametrize("interval", ["[0,2)", "[0,1];(5,5.5)", "[ 0 , 2 )"])
def test_intervals_of_values_filter(write_dataset: Callable[..., Path], interval: str) -> None:
    rows = [[*p, str(n % 5)] for n, p in enumerate(PAIRS)]
    path = write_dataset("mine", inter=[[*HEAD, "rating:float"], *rows])
    keys = {"load_col": None, "val_interval": {"rating": interval, "user_id": ["u0", "u3"]}}
    expected = [tuple(p) for n, p in enumerate(PAIRS) if n % 5 < 2 and p[0] in ("u0", "u3")]
    assert pairs_of(AtomicDataset(settings(path, **keys))) == expected


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"rating": "4+"}, "val_interval.*expected intervals"),
        ({"rating": [1, 2, 3]}, r"\[1, 2, 3\] for the numbers of rating"),
        ({"user_id": "[u0,u3]"}, "val_interval.*expected intervals"),
        ({"user_id": "[0,3]"}, "for the tokens of user_id, expected a list"),
        ({"price": "[0,3]"}, "column of mine.item.*filter_inter_by_user_or_item"),
        ({"colour": ["red"]}, "val_interval.*'colour'.*mine.inter.*mine.item"),
        (["rating"], "val_interval.*expected a dict"),
    ],
    ids=str,
)
def test_value_filter_that_does_not_fit(
    write_dataset: Callable[..., Path], wanted: Any, message: str
) -> None:
    rows = [[*p, str(n % 5)] for n, p in enumerate(PAIRS)]
    items = [["item_id:token", "price:float"], *([f"i{i}", str(i)] for i in range(12))]
    path = write_dataset("mine", inter=[[*HEAD, "rating:float"], *rows], item=items)
    with pytest.raises(UserError, match=message):
        split_own(path, load_col=None, val_interval=wanted)


def test_value_filter_by_features_with_their_key(write_dataset: Callable[..., Path]) -> None:
    items = [["item_id:token", "price:float"], *([f"i{i}", str(i)] for i in range(12))]
    path = write_dataset("mine", inter=[HEAD, *PAIRS], item=items)
    keys = {"val_interval": {"price": "[3,inf)"}, "filter_inter_by_user_or_item": True}
    data = AtomicDataset(settings(path, load_col=None, **keys))
    assert pairs_of(data) == [tuple(p) for p in PAIRS if int(p[1][1:]) >= 3]


# Features


ITEMS = [
    ["item_id:token", "price:float", "tags:token_seq"],
    *([f"never{n}", "900", "rare words"] for n in range(5)),
    *([f"i{i}", str(i), f"a b{i}"] for i in reversed(range(12)) if i != 4),
]
USERS = [["user_id:token", "age:float"], ["nobody", "200"], *([f"u{u}", str(u)] for u in range(6))]


def batches(split: Split) -> list[dict[str, torch.Tensor]]:
    train = next(iter(split.train)).interaction
    valid = next(iter(split.valid))[0].interaction
    return [train, valid]


@pytest.mark.parametrize("mode", ["full", "uni3"])
def test_feature_files_change_neither_ids_nor_split_nor_batches(
    write_dataset: Callable[..., Path], mode: str
) -> None:
    rules = {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "group_by": "user", "mode": mode}
    path = write_dataset("mine", inter=[HEAD, *PAIRS])
    keys = {"load_col": None, "eval_args": rules}
    without = split_own(path, **keys)
    np.random.seed(1)
    plain = batches(without)
    path = write_dataset("mine", item=ITEMS, user=USERS)
    host = hosts_dataset(path, **keys)
    assert (host.user_num, host.item_num) == (8, 18)  # candidates that nobody has met

    found = split_own(path, **keys)
    assert (found.dataset.user_num, found.dataset.item_num) == (7, 13)
    assert found.digest == without.digest
    for field in HEAD:
        name = field.partition(":")[0]
        ids = found.dataset.field2id_token[name].tolist()
        assert ids == without.dataset.field2id_token[name].tolist()
    np.random.seed(1)
    for batch, expected in zip(batches(found), plain, strict=True):
        assert list(batch) == list(expected)
        assert all(torch.equal(batch[name], expected[name]) for name in expected)
    for feature in (found.train._dataset.get_item_feature(), found.dataset.get_user_feature()):
        assert len(feature.columns) == 1  # what trainers join to batches

    host._change_feat_format()
    assert {"price", "tags", "age"} <= set(host[[0, 1]].columns)


def test_features_are_kept_by_id(write_dataset: Callable[..., Path]) -> None:
    path = write_dataset("mine", inter=[HEAD, *PAIRS], item=ITEMS, user=USERS)
    data = split_own(path, load_col=None).train._dataset
    assert torch.equal(data.item_feat["item_id"], torch.arange(13))
    assert torch.equal(data.user_feat["user_id"], torch.arange(7))
    place = data.field2token_id["item_id"]
    mean = (66 - 4) / 11
    for i in range(12):
        price = mean if i == 4 else i
        assert data.item_feat["price"][place[f"i{i}"]].item() == pytest.approx(price)
        words = data.field2id_token["tags"][data.item_feat["tags"][place[f"i{i}"]].numpy()]
        assert words.tolist() == (["[PAD]"] * 2 if i == 4 else ["a", f"b{i}"])
    assert data.item_feat["tags"][0].tolist() == [0, 0]
    assert data.item_feat["price"][0].item() == pytest.approx(mean)
    assert "rare" not in data.field2id_token["tags"]
    user = data.field2token_id["user_id"]["u3"]
    assert data.user_feat["age"][user].item() == 3


def test_features_of_no_item_are_refused(write_dataset: Callable[..., Path]) -> None:
    items = [["item_id:token", "price:float"], ["0", "1"], ["1", "2"]]
    path = write_dataset("mine", inter=[HEAD, *PAIRS], item=items)
    with pytest.raises(UserError, match="no `item_id` of its features stands in.*'i0', 'i1', 'i2'"):
        split_own(path, load_col=None)


def test_lightgcn_is_the_same_with_features(
    planted: dict[str, Any], write_dataset: Callable[..., Path]
) -> None:
    """To the last bit: metrics, split and number of parameters."""
    source = Path(planted["data_path"]) / "planted" / "planted.inter"
    rows = [line.split("\t") for line in source.read_text().splitlines()]
    path = write_dataset("mine", inter=rows)
    keys = {**planted, "data_path": str(path), "epochs": 2, "load_col": None}
    without = run_recbole_diffusion("LightGCN", "mine", (), keys)
    some = [["item_id:token", "price:float"], *([f"i{i:03d}", "1"] for i in range(100, 300))]
    write_dataset("mine", item=some, user=[["user_id:token"], ["u001"], ["nobody"]])
    found = run_recbole_diffusion("LightGCN", "mine", (), keys)
    for part in ("valid", "test", "split_hash", "parameters"):
        assert found[part] == without[part], part
    assert hosts_dataset(path, load_col=None).item_num == 301  # with 150 that nobody has met


def test_sequences_are_cut_to_seq_len(write_dataset: Callable[..., Path]) -> None:
    items = [["item_id:token", "vector:float_seq"], ["never", "7 7 7"]]
    items += [[f"i{i}", f"{i} 0.5 {-i}" if i != 4 else ""] for i in range(12)]
    path = write_dataset("mine", inter=[HEAD, *PAIRS], item=items)
    data = split_own(path, load_col=None, seq_len={"vector": 2}).dataset
    expected = np.zeros((13, 2))
    for i in set(range(12)) - {4}:
        expected[data.field2token_id["item_id"][f"i{i}"]] = [i, 0.5]
    assert np.array_equal(data.item_feat["vector"].numpy(), expected)


def test_further_file_of_item_vectors_adds_no_item(write_dataset: Callable[..., Path]) -> None:
    rows = [["vid:token", "vector:float_seq"], ["never", "7 7 7"]]
    rows += [[f"i{i}", f"{i} 0.5 {-i}" if i != 4 else ""] for i in range(12)]
    path = write_dataset("mine", inter=[HEAD, *PAIRS], vec=rows)
    keys = {
        "load_col": None,
        "additional_feat_suffix": ["vec"],
        "alias_of_item_id": ["vid"],
        "preload_weight": {"vid": "vector"},
    }
    assert hosts_dataset(path, **keys).item_num == 14
    data = split_own(path, **keys).dataset
    expected = np.zeros((13, 3))
    for i in set(range(12)) - {4}:
        expected[data.field2token_id["item_id"][f"i{i}"]] = [i, 0.5, -i]
    assert np.array_equal(data.get_preload_weight("vid"), expected)


# Times


@pytest.fixture
def seconds(rng: np.random.Generator) -> list[list[str]]:
    """500 distinct seconds near 1.7e9, one apart, in a mixed order; ten users."""
    order = rng.permutation(500)
    return [[f"u{n % 10}", f"i{(n // 10 + n) % 60}", str(1_700_000_000 + n)] for n in order]


def test_seconds_stay_apart(write_dataset: Callable[..., Path], seconds: list[list[str]]) -> None:
    path = write_dataset("mine", inter=[TIMED, *seconds])
    rules = {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "TO", "group_by": "user", "mode": "full"}
    keys = {"load_col": None, "eval_args": rules}

    def latest(parts: list[Any]) -> dict[str, list[str]]:
        test = pairs_of(parts[2])
        return {f"u{u}": [i for user, i in test if user == f"u{u}"] for u in range(10)}

    by_time = sorted(seconds, key=lambda row: int(row[2]))
    expected = {f"u{u}": [i for user, i, _ in by_time if user == f"u{u}"][-5:] for u in range(10)}
    host = hosts_dataset(path, **keys)
    parts = host.build()
    assert len(torch.unique(host.inter_feat["timestamp"])) == 5
    assert latest(parts) != expected

    split = split_own(path, **keys)
    parts = [loader._dataset for loader in (split.train, split.valid, split.test)]
    times = torch.cat([part.inter_feat["timestamp"] for part in parts])
    assert times.dtype == torch.float64
    assert sorted(times.tolist()) == list(range(1_700_000_000, 1_700_000_500))
    assert latest(parts) == expected
    batch = next(iter(split.train))
    assert batch["timestamp"].dtype == torch.float64
    assert set(batch["timestamp"].tolist()) <= set(times.tolist())


def test_equal_times_keep_the_order_of_the_file(write_dataset: Callable[..., Path]) -> None:
    rows = [[*pair, str(1_700_000_000 + row % 10 // 5)] for row, pair in enumerate(PAIRS)]
    path = write_dataset("mine", inter=[TIMED, *rows])
    rules = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"}
    split = split_own(path, load_col=None, eval_args=rules)
    for part, last in ((split.valid, PAIRS[8::10]), (split.test, PAIRS[9::10])):
        assert pairs_of(part._dataset) == [tuple(pair) for pair in last]


def test_times_that_are_tokens_have_no_order(write_dataset: Callable[..., Path]) -> None:
    """RecBole sorts tokens by their first appearance."""
    rows = [[*pair, str(100 - row)] for row, pair in enumerate(PAIRS)]
    path = write_dataset("mine", inter=[[*HEAD, "timestamp:token"], *rows])
    rules = {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "TO", "group_by": "user", "mode": "full"}
    host = hosts_dataset(path, load_col=None, eval_args=rules)
    host.build()
    assert pairs_of(host) == [tuple(pair) for pair in PAIRS]  # the latest first
    with pytest.raises(UserError, match="field timestamp is of type token, expected float"):
        split_own(path, load_col=None, eval_args=rules)


@pytest.mark.parametrize(
    "texts",
    [
        ["7", "10", "7", "0", "9223372036854775807"],
        ["7", "07", "7", "+7", " 7"],
        ["7", "seven", "7.0", "-7", "9223372036854775808", "٣", "1_0"],
    ],
    ids=["plain", "zeros and signs", "other texts"],
)
def test_ids_that_look_like_numbers_are_texts(texts: list[str]) -> None:
    expected, distinct = pd.factorize(np.array(texts, dtype=object))
    for column in (pd.Series(texts, dtype="str"), pd.Series(texts, dtype=object)):
        ids, tokens = numbered(column)
        assert ids.tolist() == expected.tolist()
        assert tokens.tolist() == distinct.tolist()


def test_only_numbers_without_zeros_before_them_are_read_as_such() -> None:
    assert plain_whole_numbers(pd.Series(["7", "10"], dtype="str")).tolist() == [7, 10]
    for text in ("07", "+7", "-7", "-0", "7.0", "", "x", None):
        assert plain_whole_numbers(pd.Series(["7", text], dtype="str")) is None, text

"""The split: drawn from its own seed, whole, and refused with the file or key that is wrong."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.randomness import own_randomness, seed_everything
from recbole_diffusion.data.split import Split, load_split
from recbole_diffusion.settings.config import Config

HEAD = ["user_id:token", "item_id:token"]
PAIRS = [[f"u{u}", f"i{(u + i) % 12}"] for u in range(6) for i in range(10)]
SMALL = {"topk": [1, 2], "valid_metric": "Recall@2", "show_progress": False}


def split_planted(planted: dict[str, Any], model: str = "BPR", **keys: Any) -> Split:
    return load_split(Config(model, "planted", (), {**planted, **keys}))


def split_own(path: Path, **keys: Any) -> Split:
    return load_split(Config("BPR", "mine", (), {"data_path": str(path), **SMALL, **keys}))


def parts(split: Split) -> dict[str, set[tuple[str, str]]]:
    """Pairs of original ids in each part."""
    users = split.dataset.field2id_token["user_id"]
    items = split.dataset.field2id_token["item_id"]
    return {
        name: {
            (str(users[u]), str(items[i]))
            for u, i in zip(
                loader._dataset.inter_feat["user_id"].tolist(),
                loader._dataset.inter_feat["item_id"].tolist(),
                strict=True,
            )
        }
        for name, loader in (("train", split.train), ("valid", split.valid), ("test", split.test))
    }


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(1))


def test_parts_are_disjoint_and_whole(planted: dict[str, Any]) -> None:
    split = split_planted(planted)
    found = parts(split)
    assert sum(map(len, found.values())) == len(set.union(*found.values())) == 4015
    assert split.sizes == {
        "train": len(found["train"]),
        "validation": len(found["valid"]),
        "test": len(found["test"]),
    }
    for part in ("valid", "test"):
        assert {user for user, _ in found[part]} == {f"u{u:03d}" for u in range(200)}


@pytest.mark.compat
def test_split_depends_on_its_seed_only(planted: dict[str, Any]) -> None:
    first = split_planted(planted)
    for seed in (1, 77):
        seed_everything(seed)
        torch.rand(seed), np.random.rand(seed)
        again = split_planted(planted, model="LightGCN", seed=seed, train_batch_size=64)
        assert parts(again) == parts(first)
        assert again.digest == first.digest
    other = split_planted(planted, split_seed=1)
    assert other.digest != first.digest
    assert parts(other) != parts(first)
    assert other.sizes == first.sizes


def test_split_does_not_touch_the_generators_of_the_run(planted: dict[str, Any]) -> None:
    after = {}
    for split_seed in (1, 2):
        seed_everything(9)
        split_planted(planted, split_seed=split_seed)
        after[split_seed] = draw()
    assert after[1] == after[2]


def test_own_randomness_gives_the_generators_back() -> None:
    seed_everything(3)
    expected = draw()
    seed_everything(3)
    with own_randomness(8):
        inside = draw()
    assert draw() == expected
    seed_everything(8)
    assert draw() == inside
    seed_everything(3)
    with pytest.raises(RuntimeError), own_randomness(8):
        raise RuntimeError(draw())
    assert draw() == expected


def test_digest_tells_pairs_apart_and_not_their_order(
    write_dataset: Callable[..., Path], rng: np.random.Generator
) -> None:
    files = {"train": PAIRS[:30], "valid": PAIRS[30:45], "test": PAIRS[45:]}
    keys = {"benchmark_filename": list(files)}

    def digest(**changed: Any) -> str:
        written = {f"{n}__inter": [HEAD, *rows] for n, rows in {**files, **changed}.items()}
        return split_own(write_dataset("mine", **written), **keys).digest

    first = digest()
    # The order of rows numbers the ids, so shuffle where ids are known already.
    assert digest(test=[*rng.permutation(PAIRS[45:]).tolist()]) == first
    moved = {"valid": PAIRS[30:44], "test": PAIRS[44:]}
    assert digest(**moved) != first
    assert digest(test=PAIRS[45:-1]) != first
    assert digest(test=[*PAIRS[45:-1], ["u5", "i3"]]) != first
    assert digest() == first


@pytest.mark.compat
def test_benchmark_files_keep_their_parts(write_dataset: Callable[..., Path]) -> None:
    files = {
        "train": [pair for row, pair in enumerate(PAIRS) if row % 10 < 8],
        "valid": PAIRS[8::10],
        "test": PAIRS[9::10],
    }
    path = write_dataset("mine", **{f"{n}__inter": [HEAD, *rows] for n, rows in files.items()})
    for split_seed in (1, 2):
        split = split_own(path, benchmark_filename=list(files), split_seed=split_seed)
        assert parts(split) == {n: {tuple(p) for p in rows} for n, rows in files.items()}
    assert split.sizes == {"train": 48, "validation": 6, "test": 6}


def test_order_of_time_takes_the_latest_for_the_test(planted: dict[str, Any]) -> None:
    split = split_planted(planted, eval_args={"order": "TO"})
    times = {
        name: loader._dataset.inter_feat["timestamp"].numpy()
        for name, loader in (("train", split.train), ("valid", split.valid), ("test", split.test))
    }
    users = {
        name: loader._dataset.inter_feat["user_id"].numpy()
        for name, loader in (("train", split.train), ("valid", split.valid), ("test", split.test))
    }
    for user in range(1, 201):
        latest = times["train"][users["train"] == user].max()
        assert latest <= times["valid"][users["valid"] == user].min()
        assert times["valid"][users["valid"] == user].max() <= (
            times["test"][users["test"] == user].min()
        )


@pytest.mark.parametrize(
    ("first_line", "words"),
    [
        (["user_id:token", "thing:token"], ["mine.inter", "item_id", "are missing", "thing"]),
        (["user_id", "item_id"], ["mine.inter, line 1", "field:type"]),
        (["user_id:token,item_id:token"], ["mine.inter, line 1", "field:type"]),
        (["user_id:token", "item_id:word"], ["mine.inter, line 1", "item_id:word", "token_seq"]),
        ([""], ["mine.inter, line 1", "field:type"]),
    ],
)
def test_malformed_header(
    write_dataset: Callable[..., Path], first_line: list[str], words: list[str]
) -> None:
    path = write_dataset("mine", inter=[first_line, *PAIRS])
    with pytest.raises(UserError) as error:
        split_own(path)
    assert [word for word in words if word not in str(error.value)] == []


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"USER_ID_FIELD": "who"}, ["mine.inter", "who", "USER_ID_FIELD"]),
        ({"ITEM_ID_FIELD": None}, ["ITEM_ID_FIELD", "a text"]),
        ({"USER_ID_FIELD": None, "ITEM_ID_FIELD": None}, ["USER_ID_FIELD", "a text"]),
        ({"load_col": {"inter": ["user_id", "item_id", "age"]}}, ["mine.inter", "age"]),
        ({"load_col": {"user": ["user_id"]}}, ["load_col", "user"]),
        ({"load_col": {}}, ["load_col"]),
        ({"field_separator": ";"}, ["mine.inter, line 1", "field_separator"]),
        ({"eval_args": {"split": {"RS": [0.8, 0.2]}}}, ["eval_args", "[0.8, 0.2]", "validation"]),
        ({"eval_args": {"split": {"RS": [0.9, 0.1, 0]}}}, ["eval_args", "[0.9, 0.1, 0]"]),
        ({"eval_args": {"split": {"RS": [0, 0.5, 0.5]}}}, ["eval_args", "[0, 0.5, 0.5]"]),
        ({"eval_args": {"split": {"LS": "test_only"}}}, ["eval_args", "valid_and_test"]),
        ({"eval_args": {"split": {"LS": "sometimes"}}}, ["eval_args", "sometimes"]),
        ({"eval_args": {"order": "TO"}}, ["timestamp"]),
        ({"benchmark_filename": ["train", "test"]}, ["mine.train.inter", "mine.test.inter"]),
        ({"user_inter_num_interval": "[99,inf)"}, ["mine"]),
        ({"encoding": "utf-99"}, ["utf-99"]),
    ],
    ids=str,
)
def test_settings_that_do_not_fit_the_data(
    write_dataset: Callable[..., Path], keys: dict[str, Any], words: list[str]
) -> None:
    path = write_dataset("mine", inter=[HEAD, *PAIRS])
    with pytest.raises(UserError) as error:
        split_own(path, **keys)
    assert [word for word in words if word not in str(error.value)] == [], str(error.value)


def test_data_that_the_small_set_needs_to_be_sound(write_dataset: Callable[..., Path]) -> None:
    """The set of the tests above splits when nothing is wrong with it."""
    split = split_own(write_dataset("mine", inter=[HEAD, *PAIRS]))
    assert split.sizes == {"train": 48, "validation": 6, "test": 6}


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_empty_benchmark_file(write_dataset: Callable[..., Path], part: str) -> None:
    files = {"train": PAIRS[:30], "valid": PAIRS[30:45], "test": PAIRS[45:], part: []}
    path = write_dataset("mine", **{f"{n}__inter": [HEAD, *rows] for n, rows in files.items()})
    with pytest.raises(UserError, match=rf"mine\.{part}\.inter: found a header only"):
        split_own(path, benchmark_filename=["train", "valid", "test"])


def test_missing_benchmark_file(write_dataset: Callable[..., Path]) -> None:
    path = write_dataset("mine", train__inter=[HEAD, *PAIRS], valid__inter=[HEAD, *PAIRS])
    with pytest.raises(UserError, match=r"mine\.test\.inter"):
        split_own(path, benchmark_filename=["train", "valid", "test"])


def test_wrong_header_in_one_benchmark_file(write_dataset: Callable[..., Path]) -> None:
    path = write_dataset(
        "mine",
        train__inter=[HEAD, *PAIRS[:30]],
        valid__inter=[["user_id:token", "thing:token"], *PAIRS[30:45]],
        test__inter=[HEAD, *PAIRS[45:]],
    )
    with pytest.raises(UserError, match=r"mine\.valid\.inter: fields \['item_id'\] are missing"):
        split_own(path, benchmark_filename=["train", "valid", "test"])


@pytest.mark.parametrize("text", ["soon", "nan", "NA", "1,5"])
def test_text_in_a_number_column(write_dataset: Callable[..., Path], text: str) -> None:
    rows = [[*HEAD, "timestamp:float"], *([*p, "1"] for p in PAIRS), ["u0", "i11", text]]
    keys = {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
    found = rf"column timestamp:float: found '{text}' \(1 such row\)"
    message = rf"mine\.inter, line {len(rows)}: {found}"
    with pytest.raises(UserError, match=message):
        split_own(write_dataset("mine", inter=rows), **keys)


def test_row_without_an_item_is_no_interaction_with_the_padding(
    write_dataset: Callable[..., Path],
) -> None:
    """Left out where the split is drawn; refused in a given split, which must stay whole."""
    split = split_own(write_dataset("mine", inter=[HEAD, *PAIRS, ["u0", ""]]))
    assert sum(split.sizes.values()) == len(PAIRS)
    files = {"train": [*PAIRS[:30], ["u0", ""]], "valid": PAIRS[30:45], "test": PAIRS[45:]}
    path = write_dataset("mine", **{f"{n}__inter": [HEAD, *rows] for n, rows in files.items()})
    with pytest.raises(UserError, match=r"mine\.train\.inter"):
        split_own(path, benchmark_filename=list(files))


def test_pairs_that_repeat_cannot_be_split(write_dataset: Callable[..., Path]) -> None:
    path = write_dataset("mine", inter=[HEAD, *PAIRS, *PAIRS[:3]])
    with pytest.raises(UserError, match="3 interactions repeat.*rm_dup_inter"):
        split_own(path)
    assert sum(split_own(path, rm_dup_inter="first").sizes.values()) == len(PAIRS)


def test_file_of_another_encoding(write_dataset: Callable[..., Path]) -> None:
    path = write_dataset("mine", inter=[HEAD, *PAIRS])
    file = path / "mine" / "mine.inter"
    file.write_bytes(file.read_bytes().replace(b"u0", "ü".encode("latin-1")))
    with pytest.raises(UserError, match=r"mine"):
        split_own(path)
    users = split_own(path, encoding="latin-1").dataset.field2id_token["user_id"]
    assert "ü" in users


def test_item_features_come_along(write_dataset: Callable[..., Path]) -> None:
    items = [["item_id:token", "price:float", "tags:token_seq"]]
    items += [[f"i{i}", "" if i == 3 else f"{i}", "" if i == 4 else f"a b{i}"] for i in range(12)]
    path = write_dataset("mine", inter=[HEAD, *PAIRS], item=items)
    data = split_own(path, load_col=None).dataset
    place = data.field2token_id["item_id"]
    assert data.item_feat["price"][place["i3"]].item() == pytest.approx((66 - 3) / 11)
    assert data.item_feat["price"][place["i7"]].item() == 7
    assert data.item_feat["tags"][place["i4"]].tolist() == [0, 0]
    named = [data.field2id_token["tags"][t] for t in data.item_feat["tags"][place["i7"]]]
    assert named == ["a", "b7"]

"""Items without train interactions: which ids they have, how they are held out, who draws them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cold_tools import N_ITEMS, make_cold_data

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.data.split import Split, load_split
from recbole_diffusion.settings.config import Config

HEAD = ["user_id:token", "item_id:token"]
PAIRS = [[f"u{u}", f"i{(u + i) % 12}"] for u in range(6) for i in range(10)]
SMALL = {"topk": [2], "valid_metric": "Recall@2", "show_progress": False}


def split_of(path: Path, **keys: Any) -> Split:
    return load_split(Config("BPR", "mine", (), {"data_path": str(path), **SMALL, **keys}))


def items_of(split: Split) -> list[set[int]]:
    """Internal ids in train, validation and test."""
    loaders = split.train, split.valid, split.test
    return [set(loader._dataset.inter_feat["item_id"].tolist()) for loader in loaders]


def test_a_split_of_items_keeps_an_items_interactions_together(tmp_path: Path) -> None:
    keys = make_cold_data(tmp_path)
    split = load_split(Config("BPR", "made", (), keys))
    parts = items_of(split)
    assert sum(map(len, parts)) == len(set.union(*parts)) == N_ITEMS
    assert [len(part) for part in parts] == [256, 32, 32]
    lines = (tmp_path / "made" / "made.inter").read_text().splitlines()[1:]
    tokens = split.dataset.field2id_token["item_id"]
    for part, size in zip(parts, split.sizes.values(), strict=True):
        names = {tokens[item] for item in part}
        assert size == sum(line.split("\t")[1] in names for line in lines)
    assert split.cold_items is not None
    assert set(split.cold_items.nonzero()[:, 0].tolist()) == parts[1] | parts[2]
    assert list(split.item_groups) == ["cold"]
    again = load_split(Config("LightGCN", "made", (), {**keys, "seed": 9}))
    assert again.digest == split.digest
    other = load_split(Config("BPR", "made", (), {**keys, "split_seed": 9}))
    assert items_of(other)[2] != parts[2]


def test_held_out_items_need_no_file_of_items(write_dataset: Callable[..., Path]) -> None:
    path = write_dataset("mine", inter=[HEAD, *PAIRS])
    split = split_of(path, eval_args={"split": {"CI": [1, 1, 1]}})
    assert split.dataset.item_num - 1 == 12
    assert [len(part) for part in items_of(split)] == [4, 4, 4]


def test_items_nobody_met_come_last_and_change_nothing_else(
    write_dataset: Callable[..., Path],
) -> None:
    items = [["item_id:token", "price:float"]]
    items += [[f"i{i}", f"{i}"] for i in (14, 3, 13, *range(3), *range(4, 12))]
    path = write_dataset("mine", inter=[HEAD, *PAIRS], item=items)
    plain = split_of(path, load_col=None)
    kept = split_of(path, load_col=None, keep_cold_items=True)
    tokens = kept.dataset.field2id_token["item_id"].tolist()
    assert tokens[:13] == plain.dataset.field2id_token["item_id"].tolist()
    assert tokens[13:] == ["i14", "i13"]
    assert kept.dataset.item_feat["price"][13:].tolist() == [14, 13]
    assert items_of(kept) == items_of(plain)
    assert kept.data_digest == plain.data_digest
    assert plain.cold_items is None
    assert kept.cold_items is not None
    assert kept.cold_items[13:].all()
    assert not kept.cold_items[0]


def test_without_cold_items_hash_and_draws_are_as_before(
    write_dataset: Callable[..., Path],
) -> None:
    items = [["item_id:token"], *([f"i{i}"] for i in range(12))]
    path = write_dataset("mine", inter=[HEAD, *PAIRS], item=items)
    splits = [split_of(path, keep_cold_items=kept) for kept in (False, True)]
    assert splits[0].digest == splits[1].digest
    drawn = []
    for split in splits:
        torch.manual_seed(3)
        np.random.seed(3)
        drawn.append(torch.cat([batch["neg_item_id"] for batch in split.train]))
    assert torch.equal(drawn[0], drawn[1])


@pytest.mark.parametrize("sampler", ["vectorised", "recbole"])
def test_nobody_learns_that_cold_items_are_not_wanted(tmp_path: Path, sampler: str) -> None:
    keys = make_cold_data(tmp_path, n_unmet=40)
    keys |= {"keep_cold_items": True, "negative_sampler": sampler}
    split = load_split(Config("BPR", "made", (), keys))
    drawn = torch.cat([batch["neg_item_id"] for _ in range(3) for batch in split.train])
    counts = drawn.bincount(minlength=split.dataset.item_num)
    assert split.cold_items is not None
    assert int(split.cold_items.sum()) == 64 + 40
    assert counts[split.cold_items].sum() == 0
    warm = counts[sorted(items_of(split)[0])].double()
    assert warm.max() < 2 * warm.mean()  # alike, and not by popularity


def test_cold_items_stand_in_the_file_of_items(write_dataset: Callable[..., Path]) -> None:
    path = write_dataset("mine", inter=[HEAD, *PAIRS])
    with pytest.raises(UserError, match=r"`keep_cold_items`.*mine\.item.*item_id:token"):
        split_of(path, keep_cold_items=True)
    write_dataset("mine", item=[["name:token"], ["x"]])
    with pytest.raises(UserError, match=r"`keep_cold_items`.*mine\.item"):
        split_of(path, keep_cold_items=True, load_col=None)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"eval_args": {"split": {"CI": [1, 1]}}}, ["CI", "shares above 0"]),
        ({"eval_args": {"split": {"CI": [1, 1, 1]}, "order": "TO"}}, ["order RO", "CI"]),
        ({"eval_args": {"split": {"CI": [1, 1, 1]}, "mode": "uni9"}}, ["mode full"]),
        (
            {"eval_args": {"split": {"CI": [1, 1, 1]}}, "benchmark_filename": ["a", "b", "c"]},
            ["`benchmark_filename`", "null"],
        ),
        ({"eval_args": {"split": {"CI": [1, 1, 1]}}, "train_noise_ratio": 0.1}, ["0 beside cold"]),
        ({"metrics": ["Recall", "GAUC"], "keep_cold_items": True}, ["no GAUC beside cold items"]),
        ({"valid_metric": "Recall@2 (cold)"}, ["`valid_metric`", "keep_cold_items: true"]),
        ({"valid_metric": "Recall@2 (cold)", "keep_cold_items": True}, ["BPR cannot score cold"]),
        ({"valid_metric": "Recall@2 (old)", "keep_cold_items": True}, ["(warm) or (cold)"]),
        ({"valid_metric": "Recall@2 (warm)", "keep_cold_items": True}, ["no warm item"]),
    ],
    ids=str,
)
def test_what_does_not_go_with_cold_items_is_refused(
    write_dataset: Callable[..., Path], keys: dict[str, Any], words: list[str]
) -> None:
    item = [["item_id:token"], ["i1"], ["i99"]]
    path = write_dataset("mine", inter=[HEAD, *PAIRS], item=item)
    if keys.get("valid_metric") == "Recall@2 (warm)":
        keys = keys | {"eval_args": {"split": {"CI": [1, 1, 1]}}}
    with pytest.raises(UserError) as error:
        split_of(path, **keys)
    assert [word for word in words if word not in str(error.value)] == [], str(error.value)

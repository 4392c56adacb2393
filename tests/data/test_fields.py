"""Keys that name columns or files: what does not fit is told with the key."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.data.split import Split, load_split
from recbole_diffusion.settings.config import Config

pytestmark = pytest.mark.compat

INTER = ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]
ROWS = [
    [f"u{u}", f"i{(u + i) % 12}", str(i % 5 + 1), str(1000 * u + 7 * i % 60)]
    for u in range(6)
    for i in range(10)
]
ITEMS = [["item_id:token", "year:float"], *([f"i{i}", str(2000 + i)] for i in range(12))]
VECTORS = [["vid:token", "vec:float_seq"], *([f"i{i}", f"{i} {2 * i}"] for i in range(12))]
SMALL = {"topk": [1, 2], "valid_metric": "Recall@2", "show_progress": False, "load_col": None}
FURTHER = {"additional_feat_suffix": ["itemvec"], "alias_of_item_id": ["vid"]}


@pytest.fixture
def path(write_dataset: Callable[..., Path]) -> Path:
    return write_dataset("mine", inter=[INTER, *ROWS], item=ITEMS, itemvec=VECTORS)


def split_own(path: Path, **keys: Any) -> Split:
    return load_split(Config("BPR", "mine", (), {"data_path": str(path), **SMALL, **keys}))


def refusal(path: Path, **keys: Any) -> str:
    with pytest.raises(UserError) as error:
        split_own(path, **keys)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"alias_of_item_id": ["user_id"]}, ["`alias_of_item_id`", "user_id", "USER_ID_FIELD"]),
        ({"alias_of_user_id": ["none"]}, ["`alias_of_user_id`", "'none'", "rating", "mine.inter"]),
        ({"alias_of_item_id": ["rating"]}, ["`alias_of_item_id`", "rating:float", "token"]),
        (
            {"alias_of_item_id": ["vid"], "alias_of_user_id": ["vid"], **FURTHER},
            ["`alias_of_user_id`", "vid", "`alias_of_item_id`"],
        ),
        ({"alias_of_entity_id": ["rating"]}, ["`alias_of_entity_id`", "knowledge graph"]),
        ({"normalize_field": ["none"]}, ["`normalize_field`", "'none'", "mine.inter"]),
        ({"normalize_field": ["user_id"]}, ["`normalize_field`", "user_id:token", "float"]),
        ({"normalize_field": ["rating"], "normalize_all": True}, ["`normalize_field`", "_all"]),
        ({"preload_weight": {"none": "year"}}, ["`preload_weight`", "'none'", "mine.item"]),
        ({"preload_weight": {"vid": "none"}, **FURTHER}, ["`preload_weight`", "vec of mine.item"]),
        ({"preload_weight": {"vid": "rating"}, **FURTHER}, ["'rating'", "mine.itemvec"]),
        ({"preload_weight": {"rating": "timestamp"}}, ["`preload_weight`", "rating:float"]),
        ({"preload_weight": {"vid": "vid"}, **FURTHER}, ["`preload_weight`", "vid:token"]),
        ({"preload_weight": {"item_id": "year"}}, ["'item_id'", "additional_feat_suffix"]),
        ({"seq_len": {"none": 3}}, ["`seq_len`", "'none'", "mine.inter"]),
        ({"seq_len": {"rating": 3}}, ["`seq_len`", "rating:float", "_seq"]),
        ({"unused_col": {"inter": ["item_id"]}}, ["`unused_col`", "item_id", "ITEM_ID_FIELD"]),
        ({"unused_col": {"inter": ["none"]}}, ["`unused_col`", "'none'", "mine.inter"]),
        ({"unused_col": {"user": ["age"]}}, ["`unused_col`", "'user'", "inter, item"]),
        ({"unload_col": {"inter": ["none"]}}, ["`unload_col`", "'none'", "mine.inter"]),
        ({"unload_col": {"foo": ["none"]}}, ["`unload_col`", "'foo'", "inter, item"]),
        (
            {"unload_col": {"inter": ["rating"]}, "load_col": {"inter": ["user_id", "item_id"]}},
            ["`unload_col`", "`load_col`", "null", "inter"],
        ),
        ({"additional_feat_suffix": ["none"]}, ["`additional_feat_suffix`", "mine.none"]),
        ({"additional_feat_suffix": ["item"]}, ["`additional_feat_suffix`", "'item'"]),
        (
            {**FURTHER, "load_col": {"inter": ["user_id", "item_id"]}},
            ["`additional_feat_suffix`", "itemvec", "`load_col`"],
        ),
        ({"USER_ID_FIELD": "item_id"}, ["`USER_ID_FIELD`", "'item_id'", "`ITEM_ID_FIELD`"]),
        ({"TIME_FIELD": "item_id"}, ["`TIME_FIELD`", "'item_id'", "`ITEM_ID_FIELD`"]),
        ({"LABEL_FIELD": "user_id"}, ["`LABEL_FIELD`", "'user_id'", "`USER_ID_FIELD`"]),
        ({"benchmark_filename": []}, ["`benchmark_filename`", "[]", "train"]),
        ({"user_inter_num_interval": "[50,inf)"}, ["`user_inter_num_interval`", "[50,inf)", "60"]),
        ({"item_inter_num_interval": "[50,60]"}, ["`item_inter_num_interval`", "[50,60]"]),
        ({"val_interval": {"rating": "[9,inf)"}}, ["`val_interval`", "[9,inf)", "no interaction"]),
        ({"val_interval": {"user_id": ["nobody"]}}, ["`val_interval`", "nobody"]),
        ({"transform": "mask_itemseq"}, ["`transform`", "sequential"]),
        ({"discretization": {"year": {"method": "LD"}}}, ["`discretization`", "context-aware"]),
    ],
    ids=str,
)
def test_what_does_not_fit_is_told_with_its_key(
    path: Path, keys: dict[str, Any], words: list[str]
) -> None:
    text = refusal(path, **keys)
    assert [word for word in words if word not in text] == [], text


def test_what_fits_is_read(path: Path) -> None:
    keys = {**FURTHER, "preload_weight": {"vid": "vec"}, "normalize_field": ["rating"]}
    dataset = split_own(path, **keys, unload_col={"inter": ["timestamp"]}).dataset
    weights, ids = dataset.get_preload_weight("vid"), dataset.field2token_id["item_id"]
    for item in range(12):
        np.testing.assert_array_equal(weights[ids[f"i{item}"]], [item, 2 * item])
    assert dataset.inter_feat["rating"].max() == 1
    assert "timestamp" not in dataset.inter_feat


@pytest.mark.parametrize("suffix", ["item", "user"])
@pytest.mark.parametrize("made", [Path.mkdir, lambda place: place.symlink_to("nowhere")])
def test_what_is_no_file_is_not_taken_for_a_missing_one(
    path: Path, suffix: str, made: Callable[[Path], None]
) -> None:
    place = path / "mine" / f"mine.{suffix}"
    place.unlink(missing_ok=True)
    made(place)
    text = refusal(path)
    assert str(place) in text
    assert "expected a file" in text

"""Splits stay what they have been since 0.1.0, so that old tables can be repeated."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbole_diffusion.data.split import load_split
from recbole_diffusion.settings.config import Config

STORED = Path(__file__).with_name("split_digests.json")
N_USERS, N_ITEMS = 70, 40
FILTERED = {"rm_dup_inter": "first"}


def eval_args(order: str, group_by: str, split: dict[str, Any]) -> dict[str, Any]:
    return {"eval_args": {"order": order, "group_by": group_by, "split": split}}


RATIOS = {"8-1-1": [0.8, 0.1, 0.1], "5-2-3": [5, 2, 3], "tiny": [0.97, 0.02, 0.01]}
CASES: dict[str, dict[str, Any]] = {
    f"{order} {group} {name}": eval_args(order, group, {"RS": ratios}) | FILTERED
    for order in ("RO", "TO")
    for group in ("user", "none")
    for name, ratios in RATIOS.items()
} | {
    f"{order} leave one out": eval_args(order, "user", {"LS": "valid_and_test"}) | FILTERED
    for order in ("RO", "TO")
}
CASES |= {
    "last of equal pairs": {"rm_dup_inter": "last"},
    "at least 8 a user": FILTERED | {"user_inter_num_interval": "[8,inf)"},
    "at least 9 an item": FILTERED | {"item_inter_num_interval": "[9,inf)"},
    "core of both": FILTERED
    | {"user_inter_num_interval": "[9,inf)", "item_inter_num_interval": "[12,inf)"},
    "two intervals": FILTERED | {"user_inter_num_interval": "(3,9];(10,30)"},
    "by value": FILTERED | {"val_interval": {"rating": "[2,4]"}},
    "by a feature": FILTERED
    | {"val_interval": {"price": "[1,7)"}, "filter_inter_by_user_or_item": True},
    "with noise": FILTERED | {"train_noise_ratio": 0.2},
    "another seed": FILTERED | {"split_seed": 7},
    "given": {"benchmark_filename": ["first", "second", "third"]},
    "normalised": FILTERED | {"normalize_field": ["rating"]},
}


def write_data(folder: Path) -> None:
    """Interactions with repeats, missing ids and ratings, ties of times; features with gaps."""
    draw = np.random.default_rng(11)
    n = 1500
    users = np.minimum((N_USERS * draw.random(n) ** 1.6).astype(int), N_USERS - 1)
    items = np.minimum((N_ITEMS * draw.random(n) ** 1.4).astype(int), N_ITEMS - 1)
    rows = [
        [f"u{u}", f"i{i}", f"{r / 2:g}", str(1_300_000_000 + t)]
        for u, i, r, t in zip(
            users, items, draw.integers(2, 11, n), draw.integers(0, 300, n), strict=True
        )
    ]
    rows[5][0], rows[9][1], rows[20][2] = "", "", ""
    home = folder / "mine"
    home.mkdir()
    head = ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]

    def write(name: str, head: list[str], rows: list[list[str]]) -> None:
        lines = ["\t".join(row) for row in [head, *rows]]
        (home / f"mine.{name}").write_text("\n".join(lines) + "\n")

    write("inter", head, rows)
    features = [[f"i{i}", "" if i % 9 == 4 else str(i % 11)] for i in range(N_ITEMS + 3)]
    write("item", ["item_id:token", "price:float"], features)
    whole = list({(u, i): [u, i, r or "1", t] for u, i, r, t in rows if u and i}.values())
    for part, name in enumerate(("first", "second", "third")):
        write(f"{name}.inter", head, whole[part::3])


def digest_of(feat: Any) -> str:
    digest = hashlib.sha256()
    for field in sorted(feat.columns):
        digest.update(field.encode() + feat[field].numpy().tobytes())
    return digest.hexdigest()[:16]


def found(folder: Path, keys: dict[str, Any]) -> dict[str, Any]:
    given = {"data_path": str(folder), "topk": [5], "valid_metric": "Recall@5"}
    loaded = {
        "inter": ["user_id", "item_id", "rating", "timestamp"],
        "item": ["item_id", "price"],
    }
    split = load_split(Config("BPR", "mine", (), {**given, "load_col": loaded, **keys}))
    return {
        "digest": split.digest,
        "data": split.data_digest,
        "sizes": list(split.sizes.values()),
        "features": digest_of(split.dataset.item_feat),
    }


@pytest.mark.compat
@pytest.mark.parametrize("case", CASES)
def test_a_split_is_what_it_was(case: str, tmp_path: Path) -> None:
    write_data(tmp_path)
    assert found(tmp_path, CASES[case]) == json.loads(STORED.read_text())[case]

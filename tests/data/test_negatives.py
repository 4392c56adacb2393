"""Users who have met every item: they have no negative, and all else goes on."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.data.dataloader import TrainDataLoader

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.data.split import Split, load_split
from recbole_diffusion.runs.quick_start import run_recbole_diffusion
from recbole_diffusion.settings.config import Config

pytestmark = pytest.mark.compat

HEAD = ["user_id:token", "item_id:token"]
ITEMS = [f"i{i}" for i in range(8)]
OTHERS = {
    "train": [[f"u{u}", ITEMS[(u + i) % 8]] for u in range(4) for i in range(4)],
    "valid": [[f"u{u}", ITEMS[(u + 4) % 8]] for u in range(4)],
    "test": [[f"u{u}", ITEMS[(u + 5) % 8]] for u in range(4)],
}
SMALL = {
    "benchmark_filename": ["train", "valid", "test"],
    "topk": [2],
    "valid_metric": "Recall@2",
    "show_progress": False,
    "epochs": 2,
    "train_batch_size": 6,
}
POPULAR = {"train_neg_sample_args": {"distribution": "popularity", "sample_num": 1, "alpha": 1.0}}


@pytest.fixture
def settings(write_dataset: Callable[..., Path], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Settings of a set in which a user, all, has so many items in each part."""

    def write(train: int = 8, valid: int = 0, **keys: Any) -> dict[str, Any]:
        ends = {"train": (0, train), "valid": (train, train + valid), "test": (train + valid, 8)}
        files = {
            f"{part}__inter": [HEAD, *rows, *(["all", item] for item in ITEMS[slice(*ends[part])])]
            for part, rows in OTHERS.items()
        }
        path = write_dataset("mine", **files)
        return {"data_path": str(path), "output_dir": str(tmp_path / "runs"), **SMALL, **keys}

    return write


def users_of(split: Split, part: str) -> set[str]:
    loader = getattr(split, part)
    users = [i for batch in loader for i in (batch[0] if part != "train" else batch)["user_id"]]
    return {str(split.dataset.field2id_token["user_id"][int(i)]) for i in users}


@pytest.mark.parametrize("model", ["BPR", "NeuMF", "LightGCN", "InfoDCL"])
@pytest.mark.parametrize("keys", [{}, POPULAR], ids=["uniform", "popularity"])
def test_user_without_a_negative_gives_no_pair(
    settings: Callable[..., dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
    model: str,
    keys: dict[str, Any],
) -> None:
    split = load_split(Config(model, "mine", (), settings(**keys)))
    assert users_of(split, "train") == {"u0", "u1", "u2", "u3"}
    assert sum(len(batch) for batch in split.train) >= 16
    assert len(split.train._dataset) == split.sizes["train"] == 24  # for the graph and the masks
    told = [r.getMessage() for r in caplog.records if "users, such as" in r.getMessage()]
    assert len(told) == 1
    assert "1 users, such as 'all', have met every item" in told[0]
    assert "train_neg_sample_args" in told[0]


@pytest.mark.parametrize("model", ["BPR", "EASE", "DiffRec", "recbole.DiffRec", "Pop", "InfoDCL"])
@pytest.mark.parametrize("train", [8, 6])
def test_every_model_trains(
    settings: Callable[..., dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
    model: str,
    train: int,
) -> None:
    """With 6 items in train the other parts' are negatives, as for any user."""
    keys = {"pretrain_epochs": 1, "n_clusters": 2} if model == "InfoDCL" else {}
    with caplog.at_level(logging.WARNING):
        result = run_recbole_diffusion(model, "mine", (), settings(train, 8 - train, **keys))
    assert 0 <= result["test"]["recall@2"] <= 1
    is_told = train == 8 and model in ("BPR", "InfoDCL")
    assert ("'all'" in caplog.text or "'all'" in log_of(result)) == is_told


def log_of(result: dict[str, Any]) -> str:
    return (Path(result["run_folder"]) / "run.log").read_text()


@pytest.mark.parametrize("mode", ["uni3", "pop3"])
def test_sampled_evaluation_leaves_out_whom_nothing_can_be_drawn_for(
    settings: Callable[..., dict[str, Any]], caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    """On validation all has met 7 items, on test all 8."""
    keys = {"eval_args": {"mode": mode}}
    split = load_split(Config("BPR", "mine", (), settings(5, 2, **keys)))
    assert ("all" in users_of(split, "valid")) == (mode == "uni3")
    assert users_of(split, "test") == {"u0", "u1", "u2", "u3"}
    assert "'all'" in caplog.text
    assert "left out of test" in caplog.text
    assert split.sizes["test"] == 5


def test_nobody_with_a_negative_is_an_error(write_dataset: Callable[..., Path]) -> None:
    rows = [[f"u{u}", item] for u in range(3) for item in ITEMS]
    parts = {"train": rows, "valid": [["v", "i1"]], "test": [["v", "i2"]]}
    path = write_dataset("mine", **{f"{p}__inter": [HEAD, *r] for p, r in parts.items()})
    with pytest.raises(UserError, match="3 users, such as 'u0', have met every item.*for train"):
        load_split(Config("BPR", "mine", (), {"data_path": str(path), **SMALL}))


def test_batches_are_recboles_where_all_have_negatives(
    settings: Callable[..., dict[str, Any]],
) -> None:
    config = Config("BPR", "mine", (), settings(5, 2))
    split = load_split(config)
    hosts = TrainDataLoader(config, split.train._dataset, split.train._sampler, shuffle=True)
    assert len(hosts) == len(split.train)
    for batch, host in zip(split.train, hosts, strict=True):
        for field in ("user_id", "item_id"):
            assert torch.equal(batch[field], host[field])

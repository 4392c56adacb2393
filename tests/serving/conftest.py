"""Runs on a small data set with odd ids, trained once for all tests of this folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from odd_ids import GENRES, ITEMS, N_ITEMS, USERS

from recbole_diffusion import run_recbole_diffusion
from recbole_diffusion.data.feature_files import write_features

ATTENTION = {"embedding_size": 8, "n_heads": 2, "inner_size": 16, "max_length": 5}
PICTURE = {"item_features": {"picture": {"file": "odd.picture.npz"}}}
SMALL: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("BM3", "FREEDOM", "LGMRec", "MGCN", "VBPR"), PICTURE),
    "SimDiff": {"channels": ["picture"], **PICTURE},
    "InfoDCL": {"pretrain_epochs": 1},
    "LDiffRec": {"pretrain_epochs": 1, "encoder_sizes": [6], "n_clusters": 2},
    "LTDiffRec": {"pretrain_epochs": 1, "encoder_sizes": [6], "n_clusters": 2},
    "LD4MRec": {
        "svd_rank": 4,
        "hidden_size": 8,
        **PICTURE,
    },
    "DiffMM": {
        "embedding_size": 8,
        "hidden_sizes": [8],
        "graph_items": 12,
        **PICTURE,
    },
    "SASRec": ATTENTION,
    "PrefixDiff": ATTENTION,
    "GRU4Rec": {"embedding_size": 8, "hidden_size": 8, "max_length": 5},
}


@pytest.fixture(scope="session")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Trains a model once with some settings; gives the folder of its run."""
    home = tmp_path_factory.mktemp("serving")
    draw = np.random.default_rng(4)
    folder = home / "data" / "odd"
    folder.mkdir(parents=True)
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    for user in USERS:
        chosen = draw.permutation(N_ITEMS)[: draw.integers(8, 14)]
        lines += [f"{user}\t{ITEMS[i]}\t{draw.integers(10**9)}" for i in chosen]
    (folder / "odd.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = [f"{item}\tFilm {n}\t{GENRES[n % 4]}" for n, item in enumerate(ITEMS)]
    head = "item_id:token\ttitle:token_seq\tgenre:token_seq"
    (folder / "odd.item").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    write_features(folder / "odd.picture.npz", ITEMS, draw.normal(size=(N_ITEMS, 3)))
    runs: dict[str, Path] = {}

    def train(model: str, **settings: Any) -> Path:
        name = f"{model} {settings}"
        if name not in runs:
            keys: dict[str, Any] = {
                "data_path": str(home / "data"), "output_dir": str(home / "runs"), "topk": [5],
                "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
                "valid_metric": "Recall@5",
                "metrics": ["Recall", "NDCG"], "show_progress": False, "epochs": 2,
                "state": "WARNING", **SMALL.get(model, {}), **settings,
            }  # fmt: skip
            runs[name] = Path(run_recbole_diffusion(model, "odd", (), keys)["run_folder"])
        return runs[name]

    return train

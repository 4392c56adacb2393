"""A hundred pictures and sounds decide what is recommended, through models that read vectors."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("skimage")
pytest.importorskip("soundfile")
from media_tools import READ_RATE, write_picture, write_sound
from planted_features import write_interactions

from recbole_diffusion import run_recbole_diffusion

N_ITEMS, N_GROUPS = 100, 5
SHARED = {
    "benchmark_filename": ["train", "valid", "test"],
    "load_col": {"inter": ["user_id", "item_id"]},
    "show_progress": False, "state": "WARNING", "topk": [10], "valid_metric": "Recall@10",
    "embedding_size": 16, "n_layers": 0, "train_batch_size": 512, "learning_rate": 0.02,
    "eval_step": 10,
}  # fmt: skip
MODELS = {
    "SimDiff": {
        "channels": ["image", "audio"], "reconstruction_reduction": "row", "bpr_weight": 0.7,
        "balance_weight": 0.0, "injection_ratio": 0.9, "steps": 20, "epochs": 20,
    },
    "DiffMM": {
        "modalities": ["image", "audio"], "epochs": 10, "hidden_sizes": [64],
        "generator_batch_size": 128, "residual_weight": 2.0,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set ``made``, with each item's own files in one folder and another's in the next."""
    folder = tmp_path_factory.mktemp("media") / "made"
    group, rng = write_interactions(folder, 1, 300, N_ITEMS, N_GROUPS)
    others = rng.permutation(N_ITEMS)
    sound = partial(write_sound, rate=READ_RATE)
    for kind, suffix, write in (("images", "png", write_picture), ("sounds", "wav", sound)):
        for name in ("own", "another's"):
            (folder / name / kind).mkdir(parents=True)
        for item in range(N_ITEMS):
            write(folder / "own" / kind / f"i{item}.{suffix}", group[item], rng)
        for item, other in enumerate(others):
            copy = folder / "another's" / kind / f"i{item}.{suffix}"
            copy.write_bytes((folder / "own" / kind / f"i{other}.{suffix}").read_bytes())
    return folder


def recall(made: Path, model: str, whose: str) -> float:
    """Test Recall@10, mean of two seeds."""
    features = {
        name: {kind: f"{whose}/{kind}", "scale": "standard"}
        for name, kind in (("image", "images"), ("audio", "sounds"))
    }
    keys = {**SHARED, **MODELS[model], "item_features": features, "data_path": str(made.parent)}
    keys["output_dir"] = str(made.parent / "runs")
    runs = [run_recbole_diffusion(model, "made", config_dict={**keys, "seed": s}) for s in (1, 2)]
    return float(np.mean([run["test"]["recall@10"] for run in runs]))


# Ten items drawn at random have a recall of 0.10.
#          own    another's
# SimDiff  0.260  0.104
# DiffMM   0.218  0.125


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_pictures_and_sounds_decide(made: Path, model: str) -> None:
    assert recall(made, model, "own") > 1.35 * recall(made, model, "another's")

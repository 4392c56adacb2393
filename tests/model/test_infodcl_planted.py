"""InfoDCL through whole runs on the planted set: it learns the groups, and runs repeat exactly.

A user has about 132 unseen items at test time, so that 20 of them drawn at random have a recall of
0.15; nine of ten test items are of the own group, whose unseen items all fit into the 20.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_diffusion.data.split import load_split
from recbole_diffusion.models.metadata import knowledge_metadata, social_metadata
from recbole_diffusion.nn.rows import interaction_matrix
from recbole_diffusion.runs.quick_start import run_recbole_diffusion
from recbole_diffusion.settings.config import Config
from recbole_diffusion.training.checkpoint import read_checkpoint

REPOSITORY = Path(__file__).resolve().parents[2]


def run(folder, **changes):
    """A small run without graph convolutions, which alone would find the groups."""
    keys = {
        "data_path": str(REPOSITORY / "dataset_atomic"),
        "output_dir": str(folder),
        "show_progress": False,
        "use_gpu": False,
        "embedding_size": 16,
        "n_layers": 0,
        "train_batch_size": 512,
        "learning_rate": 0.05,
        "epochs": 8,
        "pretrain_epochs": 2,
        "pretrain_batch_size": 512,
        "seed": 1,
        # The weights of the measurements below, whatever the defaults are.
        "reconstruction_weight": 0.4,
        "bpr_weight": 0.6,
        "contrastive_weight": 0.01,
        "balance_weight": 5e-5,
        "reg_weight": 0.01,
        "temperature": 0.5,
    }
    return run_recbole_diffusion("InfoDCL", "planted", config_dict={**keys, **changes})


def recall(result):
    return result["test"]["recall@20"]


# Test Recall@20 of seeds 1 to 10, measured with these settings: mean, standard deviation, range.
# as in `run`, 8 epochs  0.898  0.010  0.877 - 0.910
# learning rate 1e-12    0.151  0.021  0.120 - 0.185
# BPR weight 0           0.142  0.017  0.113 - 0.165


@pytest.mark.parametrize(
    "changes", [{"learning_rate": 1e-12, "epochs": 2}, {"bpr_weight": 0.0}], ids=["still", "no BPR"]
)
def test_a_model_that_does_not_learn_preferences_stays_near_chance(tmp_path, changes):
    assert recall(run(tmp_path, **changes)) < 0.25


def parameters(result, name="last.pth"):
    return read_checkpoint(Path(result["run_folder"]) / name)["state_dict"]


def are_equal(first, second):
    """Bit by bit: metrics of both parts, the best epoch, and all that a checkpoint scores with."""
    outcome = [(r["valid"], r["test"], r["best_epoch"]) for r in (first, second)]
    states = [parameters(first), parameters(second)]
    assert list(states[0]) == list(states[1])
    return outcome[0] == outcome[1] and all(
        torch.equal(value, states[1][name]) for name, value in states[0].items()
    )


def test_a_seed_repeats_exactly_with_and_without_the_pretraining_cache(tmp_path):
    first = run(tmp_path / "one", epochs=3)
    (cached,) = (tmp_path / "one" / "cache").iterdir()
    written = cached.stat().st_mtime_ns, cached.read_bytes()

    from_cache = run(tmp_path / "one", epochs=3)
    assert list((tmp_path / "one" / "cache").iterdir()) == [cached]
    assert (cached.stat().st_mtime_ns, cached.read_bytes()) == written
    log = (Path(from_cache["run_folder"]) / "run.log").read_text(encoding="utf-8")
    assert f"LightGCN embeddings: read from {cached}" in log
    assert "LightGCN embeddings: training" not in log
    assert from_cache["run_folder"] != first["run_folder"]
    assert are_equal(first, from_cache)

    elsewhere = run(tmp_path / "two", epochs=3)
    assert are_equal(first, elsewhere)


def test_another_seed_gives_another_model_on_the_same_split(tmp_path):
    first, other = run(tmp_path, epochs=1), run(tmp_path, epochs=1, seed=2)
    assert first["split_hash"] == other["split_hash"]
    assert not are_equal(first, other)
    states = parameters(first), parameters(other)
    for name in ("user_embedding.weight", "metadata_social", "denoiser.social.from_step.weight"):
        assert not torch.equal(states[0][name], states[1][name])
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"pretrain_epochs": 1},
        {"pretrain_learning_rate": 0.01},
        {"pretrain_n_layers": 1},
        {"pretrain_reg_weight": 0.1},
        {"pretrain_stopping_step": 0},
        {"pretrain_batch_size": 400},
        {"eval_step": 2},
        {"split_seed": 7},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_changes_the_pretraining_misses_the_cache(tmp_path, changes):
    run(tmp_path, epochs=0)
    run(tmp_path, epochs=0, **changes)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_what_only_the_model_reads_finds_the_cache(tmp_path):
    run(tmp_path, epochs=0)
    run(tmp_path, epochs=0, learning_rate=0.1, reg_weight=0.3, n_layers=2, stopping_step=1)
    run(tmp_path, epochs=0, train_batch_size=400)
    run(tmp_path, epochs=0, channels=["knowledge"], n_neighbors=3)
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize("width", [16, 5])
def test_base_embeddings_from_files_take_the_place_of_pretraining(tmp_path, rng, width):
    data_path = str(REPOSITORY / "dataset_atomic")
    overrides = {"data_path": data_path, "use_gpu": False}
    train = load_split(Config("InfoDCL", "planted", overrides=overrides)).train
    keys, embeddings = {"use_embedded_metadata": True}, []
    for name in ("user", "item"):
        tokens = train._dataset.field2id_token[f"{name}_id"]
        matrix = rng.normal(size=(len(tokens), width)).astype(np.float32)
        matrix[0] = 0  # padding
        path = tmp_path / f"{name}.npz"
        np.savez(path, ids=np.array(tokens[:0:-1], dtype=str), matrix=matrix[:0:-1])
        keys[f"pretrained_{name}_embedding"] = str(path)
        embeddings.append(matrix)

    state = parameters(run(tmp_path / "runs", epochs=0, **keys))
    interactions = interaction_matrix(train._dataset)
    social, knowledge = state["metadata_social"].numpy(), state["metadata_knowledge"].numpy()
    np.testing.assert_array_equal(social, social_metadata(interactions, embeddings[0]))
    np.testing.assert_array_equal(knowledge, knowledge_metadata(interactions, embeddings[1]))
    assert not (tmp_path / "runs" / "cache").exists()

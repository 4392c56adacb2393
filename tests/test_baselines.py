"""Every general recommender of RecBole through our entry point, on one set of planted structure."""

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_diffusion import evaluate_run, resume_run
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.randomness import seed_everything
from recbole_diffusion.data.split import load_split
from recbole_diffusion.runs import run as run_module
from recbole_diffusion.runs.quick_start import run_recbole_diffusion
from recbole_diffusion.settings import registry
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.registry import (
    HOST_PREFIX,
    OPTIONAL_PACKAGES,
    list_models,
    register,
)
from recbole_diffusion.training.checkpoint import read_checkpoint
from recbole_diffusion.training.trainer import RunTrainer

pytestmark = pytest.mark.compat

MODELS = list_models()["recbole"]
# Where the defaults are too large, or two epochs too few, for the set below.
SETTINGS: dict[str, dict[str, Any]] = {
    "ConvNCF": {
        "embedding_size": 8,
        "cnn_channels": [1, 4, 4],
        "cnn_kernels": [4, 2],
        "cnn_strides": [4, 2],
    },
    "LightGCN": {"epochs": 6, "learning_rate": 0.02, "train_batch_size": 512},
    "MultiVAE": {"epochs": 6, "learning_rate": 0.005, "train_batch_size": 64},
    "NAIS": {"embedding_size": 8, "weight_size": 8},
    "NCL": {"num_clusters": 8},
    "NNCF": {"ui_embedding_size": 8, "num_conv_kernel": 4},
    "RaCT": {"pretrain_epochs": 1},
}
# These draw noise into their scores, so that no two evaluations are alike.
DRAWING = ("ADMMSLIM", "Random")
N_GROUPS, USERS_PER_GROUP, ITEMS_PER_GROUP, TAKEN = 3, 70, 50, 20


def planted_pairs(rng: np.random.Generator) -> list[Sequence[str]]:
    """Users take nine items in ten from their group's; within a group the k-th draws as 1/k."""
    popularity = np.tile(1 / np.arange(1, ITEMS_PER_GROUP + 1), N_GROUPS)
    group = np.repeat(np.arange(N_GROUPS), ITEMS_PER_GROUP)
    rows: list[Sequence[str]] = []
    for user in range(N_GROUPS * USERS_PER_GROUP):
        is_own = group == user % N_GROUPS
        weights = popularity * np.where(is_own, 0.9, 0.1 / (N_GROUPS - 1))
        items = rng.choice(len(group), TAKEN, replace=False, p=weights / weights.sum())
        rows += [(f"u{user}", f"i{item}") for item in items]
    return rows


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("baselines")
    rows = planted_pairs(np.random.default_rng(7))
    text = "".join(f"{user}\t{item}\n" for user, item in rows)
    (root / "tastes").mkdir()
    (root / "tastes" / "tastes.inter").write_text(f"user_id:token\titem_id:token\n{text}")
    return {
        "data_path": str(root),
        "output_dir": str(root / "runs"),
        "load_col": {"inter": ["user_id", "item_id"]},
        "epochs": 2,
        "topk": [10],
        "valid_metric": "Recall@10",
        "show_progress": False,
        "state": "error",
    }


def run(settings: dict[str, Any], model: str, **keys: Any) -> dict[str, Any]:
    own = SETTINGS.get(model.removeprefix(HOST_PREFIX), {})
    return run_recbole_diffusion(model, "tastes", config_dict={**settings, **own, **keys})


@pytest.fixture(scope="module")
def runs(settings: dict[str, Any]) -> dict[str, Any]:
    """The result of every model, or what stopped it."""
    found: dict[str, Any] = {}
    for model in MODELS:
        try:
            found[model] = run(settings, model)
        except Exception as error:  # told by the model's own test
            found[model] = error
    return found


def lacks(model: str) -> bool:
    return model.removeprefix(HOST_PREFIX) == "NCL" and find_spec("faiss") is None


def test_packages_are_missing_only_where_the_defaults_use_them(runs: dict[str, Any]) -> None:
    refused = {model for model in MODELS if isinstance(runs[model], UserError)}
    assert refused == {model for model in MODELS if lacks(model)}


@pytest.mark.parametrize("model", MODELS)
def test_runs_or_names_the_package_that_it_lacks(runs: dict[str, Any], model: str) -> None:
    result = runs[model]
    if lacks(model):
        assert str(result).endswith("`faiss`, which is not installed: pip install faiss-cpu")
        return
    if isinstance(result, Exception):
        raise result
    for part in ("valid", "test"):
        assert set(result[part]) == {"recall@10", "ndcg@10"}
        assert all(0 < value < 1 for value in result[part].values()), result[part]
    assert 0 <= result["best_epoch"] < result["epochs_trained"]


def test_split_is_the_same_for_every_model_and_seed(
    runs: dict[str, Any], settings: dict[str, Any]
) -> None:
    digests = {result["split_hash"] for result in runs.values() if isinstance(result, dict)}
    digests |= {
        load_split(Config(model, "tastes", (), {**settings, "seed": seed})).digest
        for seed in (1, 2, 3)
        for model in ("BPR", "MultiVAE", "Pop")
    }
    assert len(digests) == 1


@pytest.mark.parametrize("model", [model for model in MODELS if model not in DRAWING])
def test_checkpoint_holds_all_that_scores(
    runs: dict[str, Any], settings: dict[str, Any], tmp_path: Path, model: str
) -> None:
    """A model made with another seed, and evaluated before, scores as the trained one."""
    if lacks(model):
        pytest.skip("not run")
    own = SETTINGS.get(model.removeprefix(HOST_PREFIX), {})
    config = Config(model, "tastes", (), {**settings, **own, "seed": 99})
    seed_everything(99)
    split = load_split(config)
    config["split_hash"], config["checkpoint_dir"] = split.digest, str(tmp_path)
    config["data_hash"] = split.data_digest
    network = config.model_class(config, split.train._dataset)
    trainer = config.registration.trainer_class(config, network)
    trainer.eval_collector.data_collect(split.train)
    trainer.evaluate(split.valid, load_best_model=False)
    best = Path(runs[model]["run_folder"], "best.pth")
    found = trainer.evaluate(split.test, model_file=best)
    assert dict(found) == pytest.approx(runs[model]["test"], abs=1e-12)


@pytest.mark.usefixtures("saved_each_epoch")
@pytest.mark.parametrize("model", MODELS)
def test_interrupted_run_ends_as_one_left_alone(
    runs: dict[str, Any],
    settings: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
) -> None:
    """Stopped after its first epoch, and resumed."""
    if lacks(model):
        pytest.skip("not run")
    save_last = RunTrainer._save_last

    def save_and_stop(self: Any, epoch: int) -> None:
        save_last(self, epoch)
        if epoch == 0:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunTrainer, "_save_last", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            run(settings, model, output_dir=str(tmp_path))
    (folder,) = tmp_path.iterdir()
    whole, resumed = runs[model], resume_run(folder)
    for key in ("valid", "test", "best_epoch", "epochs_trained"):
        assert resumed[key] == whole[key], key
    for file in ("best.pth", "last.pth"):
        one, other = (read_checkpoint(Path(r["run_folder"], file)) for r in (resumed, whole))
        for name, value in other["state_dict"].items():
            assert torch.equal(one["state_dict"][name], value), (file, name)
    assert evaluate_run(folder)["test"] == whole["test"]


# Recall@10 of test for seeds 1, 2, 3 on the default split, then split seeds 1, 2, 3 with seed 1:
# Pop       .341 .341 .341  .312 .269 .293
# EASE      .567 .567 .567  .493 .502 .498
# ItemKNN   .545 .545 .545  .505 .500 .493
# LightGCN  .514 .543 .543  .491 .500 .505
# MultiVAE  .548 .524 .500  .483 .471 .462
LEARNING, LEAST_LEAD = ("EASE", "ItemKNN", "LightGCN", "MultiVAE"), 0.1


@pytest.mark.parametrize("model", LEARNING)
def test_models_that_learn_tastes_beat_popularity(runs: dict[str, Any], model: str) -> None:
    lead = runs[model]["test"]["recall@10"] - runs["Pop"]["test"]["recall@10"]
    assert lead > LEAST_LEAD


def test_popularity_beats_chance(runs: dict[str, Any]) -> None:
    """By 0.2 and more above ten items in 150, on the splits above."""
    assert runs["Pop"]["test"]["recall@10"] - runs["Random"]["test"]["recall@10"] > LEAST_LEAD


def test_every_stage_of_ract(runs: dict[str, Any], settings: dict[str, Any]) -> None:
    """Actor, critic, both: each goes on from the checkpoint of the one before."""
    result = runs["RaCT"]
    parameters = []
    for stage in ("actor_pretrain", "critic_pretrain", "finetune"):
        if stage != "actor_pretrain":
            before = str(Path(result["run_folder"], "best.pth"))
            result = run(settings, "RaCT", train_stage=stage, pre_model_path=before)
        assert all(0 < value < 1 for value in result["test"].values()), stage
        assert result["epochs_trained"] == (2 if stage == "finetune" else 1)
        parameters.append(read_checkpoint(Path(result["run_folder"], "best.pth"))["state_dict"])
    actor, critic, both = parameters
    for name, is_of_critic in (("encoder.0.weight", False), ("critic_net.1.weight", True)):
        assert (actor[name] != critic[name]).any() == is_of_critic
        assert (critic[name] != both[name]).any() != is_of_critic


@pytest.mark.parametrize("epochs", [3, 4])
def test_pretraining_keeps_its_last_epoch(settings: dict[str, Any], epochs: int) -> None:
    result = run(settings, "RaCT", pretrain_epochs=epochs, save_step=2)
    assert result["best_epoch"] == epochs - 1


# Packages

NEEDS = [
    ("NCL", {}, ["faiss"], "pip install faiss-cpu"),
    ("recbole.LDiffRec", {"n_cate": 2}, ["kmeans_pytorch"], "pip install kmeans_pytorch"),
    ("NNCF", {"neigh_info_method": "louvain"}, ["community"], "pip install python-louvain"),
    (
        "NNCF",
        {"neigh_info_method": "louvain"},
        ["networkx", "community"],
        "pip install networkx python-louvain",
    ),
]


@pytest.mark.parametrize(("model", "keys", "modules", "line"), NEEDS)
def test_missing_package_stops_the_run_before_it_reads_data(
    settings: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    keys: dict[str, Any],
    modules: list[str],
    line: str,
) -> None:
    found = {n.module: None if n.module in modules else "found" for n in OPTIONAL_PACKAGES}
    monkeypatch.setattr(registry, "find_spec", found.__getitem__)
    monkeypatch.setattr(run_module, "load_split", lambda *a: pytest.fail("data was read"))
    with pytest.raises(UserError) as error:
        run(settings, model, output_dir=str(tmp_path / "out"), **keys)
    assert str(error.value).endswith(line)
    assert all(f"`{module}`" in str(error.value) for module in modules)
    assert list(tmp_path.iterdir()) == []


def test_model_of_our_own_needs_no_package_of_its_namesake(
    monkeypatch: pytest.MonkeyPatch, own_registry: None, settings: dict[str, Any], tmp_path: Path
) -> None:
    from recbole.model.general_recommender import BPR

    monkeypatch.setitem(sys.modules, "faiss", None)
    file = tmp_path / "ncl.yaml"
    file.write_text("embedding_size: 8\n")
    register(type("NCL", (BPR,), {}), properties=file)
    assert not run_recbole_diffusion("NCL", "tastes", config_dict=settings)["is_host_model"]
    with pytest.raises(UserError, match="needs `faiss`"):
        run(settings, "recbole.NCL")

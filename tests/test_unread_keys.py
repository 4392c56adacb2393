"""Keys that a model does not read are told, once each, and no others."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from recbole.model.general_recommender import BPR

from recbole_diffusion.runs.quick_start import run_recbole_diffusion
from recbole_diffusion.settings.keys import declared_keys
from recbole_diffusion.settings.registry import find_model, list_models, register
from recbole_diffusion.settings.unread import given_keys, unread_keys
from recbole_diffusion.studies.compare.request import read_request, told_unread
from recbole_diffusion.studies.tune.run import tune

MODELS = [name for names in list_models().values() for name in names]
READ = re.compile(r"config\[[\"'](\w+)[\"']\]")
FEATURES = {"text": {"fields": ["title"]}}


@pytest.mark.parametrize(
    ("model", "unread"),
    [
        ("EASE", ["channels", "item_features", "epochs", "learning_rate"]),
        ("DiffRec", ["channels", "item_features", "modalities"]),
        ("LinDiffRec", ["channels", "epochs", "learning_rate", "modalities"]),
        ("InfoDCL", ["modalities"]),
        ("DiffMM", ["channels"]),
        ("LightGCN", ["channels", "item_features", "modalities"]),
        ("recbole.DiffRec", ["channels", "item_features", "modalities"]),
        ("BSPM", ["channels", "item_features", "modalities", "epochs"]),
        ("IALS", ["epochs"]),
    ],
)
def test_keys_of_other_models_are_unread(model: str, unread: list[str]) -> None:
    others = ["seed", "topk", "recency", "eval_args", "encoding", "val_interval", "tail_ratio"]
    assert unread_keys(find_model(model), [*others, *unread]) == unread


@pytest.mark.parametrize("model", MODELS)
def test_no_key_is_unread_that_the_code_of_a_model_reads(model: str) -> None:
    registration = find_model(model)
    classes = [c for c in registration.model_class.__mro__ if c.__module__.startswith("recbole")]
    read = {key for c in classes for key in READ.findall(inspect.getsource(c))}
    read |= set(registration.defaults)
    assert not unread_keys(registration, read & declared_keys())


@pytest.mark.parametrize("model", MODELS)
def test_features_are_unread_where_the_code_never_looks_for_them(model: str) -> None:
    registration = find_model(model)
    modules = {inspect.getmodule(c) for c in registration.model_class.__mro__}
    ours = [m for m in modules if m and m.__name__.startswith("recbole_diffusion.models.")]
    needed = re.compile(r"load_(item_features|unit_vectors)|feature_names|import LinDiffRec")
    looks = any(needed.search(inspect.getsource(m)) for m in ours)
    assert (unread_keys(registration, ["item_features"]) == []) == looks


def test_of_a_users_model_without_declared_keys_nothing_is_known(own_registry: None) -> None:
    class Mine(BPR):  # type: ignore[misc]
        pass

    register(Mine)
    assert unread_keys(find_model("Mine"), ["channels", "item_features"]) == []


def test_a_run_tells_each_key_once_and_goes_on(
    planted: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("channels: [text]\nreg_weight: 100.0\n")
    keys = {**planted, "modalities": ["a"]}
    del keys["epochs"]
    result = run_recbole_diffusion("EASE", "planted", str(file), keys)
    out = capsys.readouterr().out
    told = [line for line in out.splitlines() if "does not read it" in line]
    assert told == [f"key `{key}`: EASE does not read it" for key in ("channels", "modalities")]
    assert {"channels", "modalities"} < set(given_keys([str(file)], keys))
    log = (Path(result["run_folder"]) / "run.log").read_text()
    assert log.count("key `channels`: EASE does not read it") == 1


def test_a_comparison_tells_what_none_reads_and_what_is_given_to_the_wrong_model() -> None:
    keys = {
        "models": "InfoDCL,EASE",
        "dataset": "planted",
        "channels": ["knowledge"],
        "modalities": ["text"],
        "EASE.item_features": FEATURES,
        "InfoDCL.item_features": FEATURES,
        "EASE.reg_weight": 3.0,
    }
    assert told_unread(read_request(keys)) == [
        "key `modalities`: none of InfoDCL, EASE reads it",
        "key `EASE.item_features`: EASE does not read it",
    ]


def test_a_search_tells_what_its_model_does_not_read(
    planted: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = {**planted, "channels": ["text"]}
    tune("EASE", "planted", (), keys, trials=1, folder=tmp_path / "study")
    out = capsys.readouterr().out
    assert out.count("key `channels`: EASE does not read it") == 1

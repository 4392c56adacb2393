"""Names of models: whose comes first, what may be registered, and what a run makes of it."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.model.abstract_recommender import GeneralRecommender, SequentialRecommender
from recbole.model.general_recommender import BPR
from recbole.model.general_recommender import DiffRec as HostDiffRec
from recbole.trainer import RecVAETrainer, TraditionalTrainer, Trainer
from recbole.utils import InputType, ModelType

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.models.infodcl.model import InfoDCL
from recbole_diffusion.runs.quick_start import run_recbole_diffusion
from recbole_diffusion.settings.registry import find_model, has_figures, list_models, register
from recbole_diffusion.settings.schema import Settings, key
from recbole_diffusion.training.channels import ChannelTrainer
from recbole_diffusion.training.trainer import DiffusionTrainer, RunTrainer


class TinySettings(Settings):
    """Keys of the model below."""

    tiny_size: int = key(4, "width", within="1..64")


class TinyFactors(GeneralRecommender):
    """Inner products; notes the columns of every training batch."""

    settings_class = TinySettings
    input_type = InputType.PAIRWISE
    batches: list[dict[str, int]] = []

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.user_embedding = torch.nn.Embedding(self.n_users, config["tiny_size"])
        self.item_embedding = torch.nn.Embedding(self.n_items, config["tiny_size"])

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        type(self).batches.append({c: len(interaction[c]) for c in interaction.columns})
        user = self.user_embedding(interaction[self.USER_ID])
        if self.NEG_ITEM_ID not in interaction:
            return (user @ self.item_embedding.weight.T).square().mean()
        gap = self.item_embedding(interaction[self.ITEM_ID]) - self.item_embedding(
            interaction[self.NEG_ITEM_ID]
        )
        return -torch.nn.functional.logsigmoid((user * gap).sum(dim=1)).mean()

    def full_sort_predict(self, interaction: Any) -> torch.Tensor:
        return self.user_embedding(interaction[self.USER_ID]) @ self.item_embedding.weight.T


class TinyUsers(TinyFactors):
    train_loader = "users"


class TinyInteractions(TinyFactors):
    train_loader = "interactions"


class TinyOther(TinyFactors):
    train_loader = "pairs"


@pytest.fixture(autouse=True)
def _fresh(own_registry: None) -> None:
    TinyFactors.batches = []


def test_plain_name_is_ours_first() -> None:
    found = find_model("InfoDCL")
    assert (found.model_class, found.trainer_class) == (InfoDCL, ChannelTrainer)
    assert not found.is_host
    assert find_model("BPR").model_class is BPR

    ours = register(type("BPR", (TinyFactors,), {}))
    assert find_model("BPR").model_class is ours
    assert not find_model("BPR").is_host
    host = find_model("recbole.BPR")
    assert host.model_class is BPR
    assert host.is_host
    assert host.name == "BPR"
    assert "recbole.BPR" in list_models()["recbole"]
    assert "BPR" in list_models()["recbole_diffusion"]


def test_plain_name_of_a_host_model_and_its_long_form_are_one() -> None:
    short, long = find_model("DiffRec"), find_model("recbole.DiffRec")
    assert issubclass(long.model_class, HostDiffRec)
    assert short.is_host or not issubclass(short.model_class, HostDiffRec)
    assert find_model("LightGCN").model_class is find_model("recbole.LightGCN").model_class


@pytest.mark.parametrize(
    ("name", "host_trainer"),
    [("LightGCN", Trainer), ("EASE", TraditionalTrainer), ("RecVAE", RecVAETrainer)],
)
def test_host_model_gets_the_host_trainer_with_our_reports(name: str, host_trainer: type) -> None:
    trainer = find_model(name).trainer_class
    assert issubclass(trainer, host_trainer)
    assert issubclass(trainer, RunTrainer)
    assert trainer.__mro__.index(RunTrainer) < trainer.__mro__.index(host_trainer)


@pytest.mark.parametrize("name", ["recbole.InfoDCL", "bpr", "recbole.", "", "GeneralRecommender"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(UserError, match="key `model`: found ") as error:
        find_model(name)
    assert repr(name) in str(error.value)
    assert "InfoDCL" in str(error.value)


def test_lists_hold_general_recommenders_only() -> None:
    models = list_models()
    assert {"DiffMM", "InfoDCL", "LD4MRec", "SimDiff"} <= set(models["recbole_diffusion"])
    assert {"BPR", "LightGCN", "EASE", "MultiVAE", "DiffRec"} <= {
        name.removeprefix("recbole.") for name in models["recbole"]
    }
    assert not {"SASRec", "GRU4Rec", "FM", "KGAT", "XGBoost"} & set(models["recbole"])
    for name in models["recbole_diffusion"] + models["recbole"]:
        found = find_model(name)
        assert found.is_host == (name in models["recbole"])
        assert issubclass(found.model_class, GeneralRecommender)
        assert not issubclass(found.model_class, SequentialRecommender)
    assert models["recbole"] == sorted(models["recbole"])


def test_register_serves_as_a_decorator_and_the_last_one_counts() -> None:
    @register
    class Twice(TinyFactors):
        pass

    assert Twice.__name__ == "Twice"
    first = Twice
    second = register(type("Twice", (TinyFactors,), {}))
    assert find_model("Twice").model_class is second
    assert find_model(first).model_class is first


def test_class_can_be_given_in_place_of_a_name() -> None:
    assert find_model(TinyFactors).model_class is TinyFactors
    assert find_model(TinyFactors).trainer_class is DiffusionTrainer
    assert find_model(InfoDCL).trainer_class is ChannelTrainer


def test_class_of_the_host_stays_the_host_model(planted: dict[str, Any]) -> None:
    """With its own settings and trainer, and without taking its name for others."""
    assert find_model(BPR).is_host
    result = run_recbole_diffusion(BPR, "planted", config_dict=planted)
    by_name = run_recbole_diffusion("BPR", "planted", config_dict=planted)
    assert result["is_host_model"]
    assert result["test"] == by_name["test"]
    assert "BPR" not in list_models()["recbole_diffusion"]


@pytest.mark.parametrize("wrong", ["BPR", 3, torch.nn.Linear, SequentialRecommender])
def test_register_takes_general_recommenders_only(wrong: Any) -> None:
    with pytest.raises(UserError, match="register: found .*GeneralRecommender"):
        register(wrong)


@pytest.mark.parametrize("wrong", [Trainer, TraditionalTrainer, RunTrainer, object, "mine"])
def test_register_takes_our_trainers_only(wrong: Any) -> None:
    with pytest.raises(UserError, match=r"register\(TinyFactors\).*DiffusionTrainer"):
        register(TinyFactors, wrong)
    assert "TinyFactors" not in list_models()["recbole_diffusion"]


def test_register_wants_an_existing_property_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"register\(TinyFactors\).*none\.yaml does not exist"):
        register(TinyFactors, properties=tmp_path / "none.yaml")
    assert "TinyFactors" not in list_models()["recbole_diffusion"]


def test_property_file_is_found_from_another_folder(
    tmp_path: Path, planted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.yaml").write_text("tiny_size: 8\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    register(TinyFactors, properties="tiny.yaml")
    monkeypatch.chdir(tmp_path / "elsewhere")
    result = run_recbole_diffusion("TinyFactors", "planted", config_dict=planted)
    assert result["parameters"] == (201 + 151) * 8


@pytest.mark.compat
@pytest.mark.parametrize("model", [TinyUsers, TinyInteractions, TinyFactors])
def test_batches_hold_what_the_model_declares(planted: dict[str, Any], model: type) -> None:
    register(model)
    keys = {**planted, "tiny_size": 4, "train_batch_size": 64}
    result = run_recbole_diffusion(model.__name__, "planted", config_dict=keys)
    assert result["epochs_trained"] == 1
    assert not result["is_host_model"]
    if model is TinyUsers:
        assert {frozenset(b) for b in model.batches} == {frozenset({"user_id"})}
        assert [b["user_id"] for b in model.batches] == [64, 64, 64, 9]  # with the padding user
    else:
        columns = {"user_id", "item_id", "neg_item_id", "timestamp"}
        assert {frozenset(b) for b in model.batches} == {frozenset(columns)}
        sizes = [b["user_id"] for b in model.batches]
        assert sizes[:-1] == [64] * (len(sizes) - 1)
        assert all(len(set(b.values())) == 1 for b in model.batches)


def test_unknown_loader_is_refused(planted: dict[str, Any]) -> None:
    register(TinyOther)
    with pytest.raises(UserError, match=r"TinyOther\.train_loader: found 'pairs'.*users"):
        run_recbole_diffusion("TinyOther", "planted", config_dict={**planted, "tiny_size": 4})


def test_name_of_a_host_autoencoder_does_not_change_the_loader(planted: dict[str, Any]) -> None:
    """A model of ours that declares nothing trains on interactions, whatever its name."""
    model = register(type("MultiVAE", (TinyFactors,), {"batches": []}))
    run_recbole_diffusion("MultiVAE", "planted", config_dict={**planted, "tiny_size": 4})
    assert "neg_item_id" in model.batches[0]


def test_traditional_models_are_general_enough(planted: dict[str, Any]) -> None:
    register(type("TinyCounts", (TinyFactors,), {"type": ModelType.TRADITIONAL}))
    keys = {**planted, "tiny_size": 4}
    assert run_recbole_diffusion("TinyCounts", "planted", config_dict=keys)["epochs_trained"] == 1


def test_another_package_brings_a_model_by_an_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pip installs one: a module, and a folder that names its entry points."""
    (tmp_path / "brought.py").write_text(
        "from recbole.model.general_recommender import BPR\n\n\nclass Brought(BPR):\n    pass\n"
    )
    installed = tmp_path / "brought-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: brought\nVersion: 1.0\n")
    points = "[recbole_diffusion.models]\nBrought = brought:Brought\n"
    (installed / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "Brought" in list_models()["recbole_diffusion"]
    assert "brought" not in sys.modules
    found = find_model("Brought")
    assert (found.name, found.module) == ("Brought", "brought")
    assert found.trainer_class is DiffusionTrainer
    assert find_model("Brought") == found


def test_every_model_of_the_folders_is_where_it_says() -> None:
    names = list_models()["recbole_diffusion"]
    assert {"DiffRec", "DiffMM", "InfoDCL", "LD4MRec", "LinDiffRec", "SimDiff"} <= set(names)
    for name in names:
        found = find_model(name)
        assert found.model_class.__name__ == name
        assert issubclass(found.trainer_class, DiffusionTrainer)
        assert callable(found.draw) == has_figures(name)

"""The contract of ``contract.py`` for every model of ours, and one that is registered."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contract import CHECKS, DATASETS, Subject
from recbole.model.general_recommender import BPR

from recbole_diffusion.settings import registry
from recbole_diffusion.settings.property_files import read_properties
from recbole_diffusion.settings.registry import list_models, register
from recbole_diffusion.settings.schema import key
from recbole_diffusion.settings.shared import Training

# Of each model, settings by which it solves the planted set, and with which it learns nothing.
FOLDER = Path(__file__).with_name("contract_settings")
MODELS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
STILL = {"learning_rate": 0.0, "epochs": 1, "eval_step": 1}


class PairRecommenderSettings(Training, defaults={"epochs": 20, "learning_rate": 0.02}):
    """Keys of PairRecommender."""

    embedding_size: int = key(16, "width", within="1..2^20")


class PairRecommender(BPR):
    """A model of somebody's own."""

    settings_class = PairRecommenderSettings


OWN_KEYS = {"train_batch_size": 256, "eval_step": 10}


def genre_vectors(path: Path) -> Path:
    """One-hot genres of the planted items."""
    lines = (DATASETS / "planted" / "planted.item").read_text().splitlines()[1:]
    ids, _, genres = zip(*(line.split("\t") for line in lines), strict=True)
    matrix = np.array(genres)[:, None] == np.unique(genres)
    np.savez(path, ids=np.array(ids), matrix=matrix.astype(np.float32))
    return path


def contract_settings(name: str) -> dict[str, Any]:
    path = FOLDER / f"{name}.yaml"
    settings = read_properties(path)
    is_sound = "solves" in settings and set(settings) <= {"solves", "frozen"}
    assert is_sound, f"{path}: found the keys {list(settings)}, expected solves and frozen"
    return settings


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Subject]:
    """Each with its runs, which its checks share."""
    folder = tmp_path_factory.mktemp("vectors")
    genres, alike = genre_vectors(folder / "genre.npz"), folder / "alike.npz"
    with np.load(genres) as content:
        np.savez(alike, ids=content["ids"], matrix=np.ones_like(content["matrix"]))
    settings = {name: contract_settings(name) for name in MODELS}
    for entry in settings.values():
        for part, file in (("solves", genres), ("frozen", alike)):
            if "item_features" in entry.get(part, {}):
                entry[part]["item_features"] = {"genre": {"file": str(file)}}
    settings["PairRecommender"] = {"solves": OWN_KEYS, "frozen": STILL}
    return {
        name: Subject(name, entry["solves"], tmp_path_factory.mktemp(name), entry.get("frozen"))
        for name, entry in settings.items()
    }


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTERED", dict(registry._REGISTERED))
    register(PairRecommender)


def test_every_model_has_a_contract() -> None:
    assert set(list_models()["recbole_diffusion"]) - {"PairRecommender"} == set(MODELS)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", [*MODELS, "PairRecommender"])
def test_contract(
    subjects: dict[str, Subject], name: str, check: Callable[[Subject], None]
) -> None:
    check(subjects[name])


def test_a_broken_model_breaks_the_contract(tmp_path: Path) -> None:
    """Without its updates, scores are those of chance; and with drawn ones, no two are the same."""

    class Broken(PairRecommender):
        def full_sort_predict(self, interaction: Any) -> torch.Tensor:
            return torch.randn(len(interaction["user_id"]) * self.n_items)

    register(Broken)
    subject = Subject("Broken", {"epochs": 1}, tmp_path)
    failed = []
    for check in CHECKS[:5]:
        try:
            check(subject)
        except AssertionError:
            failed.append(check.__name__)
    assert failed == ["solves_the_planted_set", "scores_all_items_of_users"]
    assert DATASETS.is_dir()

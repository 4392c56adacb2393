"""Losses that ``benchmarks/losses.py`` exchanges, against NumPy and the models' own."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from recbole.model.general_recommender import BPR

from recbole_diffusion.base.randomness import seed_everything
from recbole_diffusion.data.split import load_split
from recbole_diffusion.models.infodcl.model import InfoDCL
from recbole_diffusion.nn.lightgcn import LightGCN
from recbole_diffusion.settings.config import Config

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
PAIRS = (("BPRByLoss", BPR), ("LightGCNByLoss", LightGCN), ("InfoDCLByLoss", InfoDCL))

pytestmark = pytest.mark.usefixtures("own_registry")


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.delitem(sys.modules, "ranking_losses", raising=False)
    import ranking_losses

    return ranking_losses


def test_each_loss_is_its_formula(losses: ModuleType) -> None:
    rng = np.random.default_rng(2)
    users, items = rng.normal(size=(5, 3)), rng.normal(size=(7, 3))
    positive, negative = np.array([1, 6, 3, 3, 2]), np.array([4, 2, 1, 5, 6])
    scores = users @ items.T
    met, drawn = (scores[np.arange(5), ids] for ids in (positive, negative))
    expected = {
        "bpr": -np.log(1 / (1 + np.exp(drawn - met))).mean(),
        "bce": -np.log(np.concatenate([1 / (1 + np.exp(-met)), 1 / (1 + np.exp(drawn))])).mean(),
        "softmax": (np.log(np.exp(scores[:, 1:]).sum(axis=1)) - met).mean(),
    }
    tensors = [torch.from_numpy(x) for x in (users, items, positive, negative)]
    for form, value in expected.items():
        found = losses.ranking_loss(form, *tensors).item()
        np.testing.assert_allclose(found, value, rtol=1e-10)


@pytest.mark.parametrize(("name", "original"), PAIRS)
def test_with_bpr_a_model_s_loss_is_its_own(
    losses: ModuleType, planted: dict[str, Any], name: str, original: type
) -> None:
    found = {form: terms(name, None, planted, ranking_loss=form) for form in ("bpr", "softmax")}
    own = terms(name, original, planted)
    torch.testing.assert_close(found["bpr"], own, rtol=1e-4, atol=1e-7)
    assert found["softmax"][0] != own[0]
    assert torch.equal(found["softmax"][1:], found["bpr"][1:])


def terms(name: str, own: type | None, planted: dict[str, Any], **keys: Any) -> torch.Tensor:
    """Of one batch, by the model of that name, or by another class with its settings."""
    plain = {"use_psnet": False} if name == "InfoDCLByLoss" else {}
    config = Config(name, "planted", (), {**planted, **plain, **keys})
    data = load_split(config).train
    seed_everything(4)
    model = (own or config.registration.model_class)(config, data._dataset)
    seed_everything(5)
    losses = model.calculate_loss(next(iter(data)))
    return torch.stack(losses if isinstance(losses, tuple) else [losses]).detach()

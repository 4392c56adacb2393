"""Embeddings that are kept for scoring are those of the weights at hand, however these change."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from channel_tools import TinyDataset, base_embeddings, feature_file, settings
from torch import nn

from recbole_diffusion.models.diffmm.model import DiffMM
from recbole_diffusion.models.infodcl.model import InfoDCL
from recbole_diffusion.models.simdiff.model import SimDiff


def load(model: Any) -> None:
    model.load_state_dict({name: value + 0 for name, value in doubled(model).items()})


def load_as_a_part(model: Any) -> None:
    """As a model within another one, whose own method is not called."""
    whole = nn.ModuleDict({"part": model})
    whole.load_state_dict({f"part.{name}": value for name, value in doubled(model).items()})


def doubled(model: Any) -> dict[str, Any]:
    return {
        name: value * 2 if "embedding" in name and value.is_floating_point() else value
        for name, value in model.state_dict().items()
    }


def write_through_data(model: Any) -> None:
    model.user_embedding.weight.data.mul_(2)


def replace_data(model: Any) -> None:
    model.user_embedding.weight.data = model.user_embedding.weight.detach() * 2


def replace_parameter(model: Any) -> None:
    model.user_embedding.weight = nn.Parameter(model.user_embedding.weight.detach() * 2)


def step_fused(model: Any) -> None:
    weight = model.user_embedding.weight
    weight.grad = torch.ones_like(weight)
    torch.optim.Adam([weight], lr=0.1, fused=True).step()


def write_in_place(model: Any) -> None:
    with torch.no_grad():
        model.user_embedding.weight[1, 0] += 1


CHANGES = (
    load, load_as_a_part, write_through_data, replace_data, replace_parameter, step_fused,
    write_in_place,
)  # fmt: skip


@pytest.fixture(params=[DiffMM, InfoDCL, SimDiff], ids=lambda model: model.__name__)
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    path, _ = feature_file(tmp_path)
    keys = settings(request.param.__name__)
    small = {"hidden_sizes": [5], "step_embedding_size": 4, "graph_items": 2}
    small = small if request.param is DiffMM else {}
    torch.manual_seed(1)
    made = request.param(
        {**keys, **small, "item_features": {"x": {"file": str(path)}}}, TinyDataset()
    )
    if getattr(made, "needs_base_embeddings", False):
        made.set_base_embeddings(*base_embeddings())
    return made.eval()


@pytest.mark.parametrize("change", CHANGES)
def test_scores_follow_the_weights(model: Any, change: Callable[[Any], None]) -> None:
    users = {model.USER_ID: torch.arange(1, 7)}
    before = model.full_sort_predict(users)
    kept = model._scoring_embeddings
    assert torch.equal(model.full_sort_predict(users), before)
    assert model._scoring_embeddings is kept  # so it is no new computation each time
    change(model)
    assert not torch.equal(model.full_sort_predict(users), before)
    assert model._scoring_embeddings is not kept

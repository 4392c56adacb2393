"""EASE and ADMMSLIM, solved in place: what RecBole's own give, and refusals of large catalogues."""

import numpy as np
import pytest
import torch
from channel_tools import N_ITEMS, N_USERS, TinyDataset
from recbole.data.interaction import Interaction
from recbole.model import general_recommender as host

from recbole_diffusion.base import memory
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.models import host_models
from recbole_diffusion.settings.config import Config


class Dataset(TinyDataset):
    dataset_name = "tiny"


def made(module, model, **keys):
    config = Config(model, "ml-100k", (), {"use_gpu": False, **keys})
    return getattr(module, model)(config, Dataset())


def dense_rows():
    return Dataset().inter_matrix(form="csr").toarray().astype(np.float64)


def test_ease_is_its_closed_form():
    rows = dense_rows()
    inverse = np.linalg.inv(rows.T @ rows + 3.0 * np.eye(N_ITEMS))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    model = made(host_models, "EASE", reg_weight=3.0)
    assert model.item_similarity.dtype == np.float32
    np.testing.assert_allclose(model.item_similarity, expected, rtol=1e-4, atol=1e-6)
    everyone = Interaction({"user_id": torch.arange(N_USERS)})
    scores = model.full_sort_predict(everyone).view(N_USERS, N_ITEMS)
    np.testing.assert_allclose(scores, rows @ expected, rtol=1e-4, atol=1e-6)
    pairs = Interaction({"user_id": torch.tensor([1, 2, 3]), "item_id": torch.tensor([4, 1, 2])})
    found = model.predict(pairs)
    np.testing.assert_allclose(found, scores[[1, 2, 3], [4, 1, 2]], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"center_columns": False},
        {"positive_only": True},
        {"center_columns": False, "positive_only": True, "lambda1": 0.5},
    ],
)
def test_admm_slim_is_the_hosts(keys):
    keys = {"lambda1": 0.3, "lambda2": 5.0, "alpha": 0.5, "rho": 10.0, "k": 7, **keys}
    theirs, ours = (made(module, "ADMMSLIM", **keys) for module in (host, host_models))
    assert (theirs.item_similarity != 0).any()
    assert ours.item_similarity.dtype == np.float32
    np.testing.assert_allclose(ours.item_similarity, theirs.item_similarity, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(ours.item_means, theirs.item_means)


@pytest.mark.parametrize(("model", "needed"), [("EASE", r"3\.5"), ("ADMMSLIM", r"20\.2")])
def test_a_catalogue_beyond_the_memory_is_refused(monkeypatch, model, needed):
    """One array of 30,000^2 numbers of 4 bytes, or six, and 1/8 GiB for blocks."""
    sizes = {"user_id": N_USERS, "item_id": 30_000}
    monkeypatch.setattr(Dataset, "num", lambda self, field: sizes[field])
    monkeypatch.setattr(memory, "machine_memory_mb", lambda: 0.8 * 3 * 1024)
    message = rf"model {model} with 30000 items .*: found 3\.0 GiB of memory, .* {needed} GiB"
    with pytest.raises(UserError, match=message):
        made(host_models, model)


def test_a_penalty_of_nothing_is_refused():
    with pytest.raises(UserError, match="reg_weight"):
        made(host_models, "EASE", reg_weight=0.0)

"""The matrices of RecBole's graph models: the bits that RecBole's own functions give."""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from channel_tools import BATCH, TinyDataset
from channel_tools import N_USERS as N_TINY_USERS
from recbole.data.interaction import Interaction
from recbole.model import general_recommender as host

from recbole_diffusion.models import host_models
from recbole_diffusion.nn.graph import host_adjacency
from recbole_diffusion.settings.config import Config

N_USERS, N_ITEMS = 23, 31
FUNCTIONS = {
    "LightGCN": "get_norm_adj_mat",
    "NGCF": "get_norm_adj_mat",
    "NCL": "get_norm_adj_mat",
    "GCMC": "get_norm_adj_mat",
    "SpectralCF": "get_laplacian_matrix",
}


@pytest.fixture
def holder():
    """What the functions read: pairs in any order, some twice, and ends without any."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(1, N_USERS, 90), rng.integers(1, N_ITEMS - 2, 90)
    users, items = np.append(users, users[:5]), np.append(items, items[:5])
    ones = np.ones(len(users), np.float32)
    matrix = sp.coo_matrix((ones, (users, items)), shape=(N_USERS, N_ITEMS))

    def eye(n):
        return torch.eye(n).to_sparse()

    return SimpleNamespace(
        interaction_matrix=matrix,
        n_users=N_USERS,
        n_items=N_ITEMS,
        device=torch.device("cpu"),
        get_eye_mat=eye,
    )


@pytest.mark.parametrize("model", FUNCTIONS)
def test_matrix_has_the_bits_of_the_hosts(model, holder):
    if not hasattr(host, model):
        pytest.skip("not in this RecBole, or without faiss")
    name = FUNCTIONS[model]
    theirs = getattr(getattr(host, model), name)(holder).coalesce()
    ours = getattr(getattr(host_models, model), name)(holder).coalesce()
    assert ours.shape == theirs.shape == (N_USERS + N_ITEMS,) * 2
    assert ours.dtype == theirs.dtype == torch.float32
    assert torch.equal(ours.indices(), theirs.indices())
    assert torch.equal(ours.values(), theirs.values())


def test_entries_are_over_powers_of_degrees(holder):
    dense = np.zeros((N_USERS + N_ITEMS,) * 2)
    users, items = holder.interaction_matrix.row, holder.interaction_matrix.col
    dense[users, items + N_USERS] = dense[items + N_USERS, users] = 1
    degrees = np.maximum(dense.sum(axis=1), 1)
    expected = dense * degrees[:, None] ** -0.5 * degrees[None, :] ** -0.25
    found = host_adjacency(holder.interaction_matrix, -0.5, -0.25)
    assert found.is_coalesced()
    np.testing.assert_allclose(found.to_dense().numpy(), expected, rtol=1e-6)
    entries = found.indices()
    places = entries[0] * len(dense) + entries[1]
    assert (places.diff() > 0).all()  # as a coalesced tensor has them


@pytest.mark.parametrize("n_layers", [0, 1, 3])
def test_lightgcn_convolves_and_learns_as_the_hosts(n_layers):
    """Loss, gradients and scores are the host's, up to rounding."""
    dataset = TinyDataset()
    batch = Interaction({name: torch.tensor(column) for name, column in BATCH.items()})
    everyone = Interaction({"user_id": torch.arange(N_TINY_USERS)})
    found = []
    for model_class in (host.LightGCN, host_models.LightGCN):
        torch.manual_seed(0)
        config = Config("LightGCN", "ml-100k", (), {"n_layers": n_layers, "use_gpu": False})
        model = model_class(config, dataset)
        loss = model.calculate_loss(batch)
        loss.backward()
        gradients = [p.grad for p in model.parameters()]
        found.append([loss.detach(), *gradients, model.full_sort_predict(everyone).detach()])
        assert not any("graph" in name for name in model.state_dict())
    for theirs, ours in zip(*found, strict=True):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)

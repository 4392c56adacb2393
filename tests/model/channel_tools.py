"""What the tests of models with metadata by channel share: a tiny data set, and parts of papers.

The parts of papers are in float64 numpy; ``w`` holds a module's own weights, ``p`` is the prefix of
their names.
"""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from recbole.data.interaction import Interaction
from scipy.special import erf

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.property_files import properties_folder, read_properties

REPOSITORY = Path(__file__).resolve().parents[2]

N_USERS, N_ITEMS, SIZE, STEPS, WIDTH = 8, 11, 6, 9, 4  # users and items with padding
PAIRS = [
    *[(1, 1), (1, 2), (1, 4), (2, 1), (2, 3), (3, 4), (3, 5), (3, 6), (4, 7), (5, 8), (5, 1)],
    *[(6, 9), (6, 2), (2, 3)],  # the last one again; user 7 and item 10 have none
]
BATCH = {
    "user_id": [1, 1, 2, 3, 5, 3, 6, 5, 4],
    "item_id": [2, 1, 1, 6, 8, 4, 2, 1, 10],  # 1 and 2 repeat; the last id is among them
    "neg_item_id": [5, 10, 4, 1, 2, 3, 3, 7, 1],
}


class TinyDataset:
    """What the model asks of RecBole's train dataset."""

    def __init__(self, pairs=PAIRS):
        self.pairs = pairs

    def num(self, field):
        return {"user_id": N_USERS, "item_id": N_ITEMS}[field]

    @property
    def field2id_token(self):
        return {
            "user_id": np.array(["[PAD]", *(f"i{i}" for i in range(1, N_USERS))]),
            "item_id": np.array(["[PAD]", *(f"i{i}" for i in range(1, N_ITEMS))]),
        }

    def inter_matrix(self, form):
        user, item = np.array(self.pairs).T
        ones = np.ones(len(self.pairs))
        return sp.coo_matrix((ones, (user, item)), shape=(N_USERS, N_ITEMS)).asformat(form)


def settings(model, **changes):
    """The defaults of a model's property file, small, with some keys changed."""
    own = read_properties(properties_folder() / "model" / f"{model}.yaml")
    defaults = {"item_features": None, "data_path": None, **own}
    fields = {"USER_ID_FIELD": "user_id", "ITEM_ID_FIELD": "item_id", "NEG_PREFIX": "neg_"}
    small = {"embedding_size": SIZE, "steps": STEPS, "device": torch.device("cpu")}
    assert set(changes) <= set(defaults)
    return {**defaults, **fields, **small, **changes}


def base_embeddings(seed=5):
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(N_USERS, SIZE)).astype(np.float32),
        rng.normal(size=(N_ITEMS, SIZE)).astype(np.float32),
    )


def randomize(module, seed=1):
    """Give every weight a value far from its start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return module


def batch(**changes):
    columns = {**BATCH, **changes}
    return Interaction({name: torch.tensor(column) for name, column in columns.items()})


def feature_file(folder, width=WIDTH, n_ids=N_ITEMS):
    """Features in the reverse order of the data set; returns the path and the right order."""
    matrix = np.random.default_rng(8).normal(size=(n_ids - 1, width)).astype(np.float32)
    ids = np.array([f"i{i}" for i in range(1, n_ids)])
    np.savez(folder / "text.npz", ids=ids[::-1], matrix=matrix[::-1])
    return folder / "text.npz", np.concatenate([np.zeros((1, width), np.float32), matrix])


def floats(*tensors):
    return tuple(t.detach().double().numpy() for t in tensors)


def weights(module):
    return {name: value.detach().double().numpy() for name, value in module.state_dict().items()}


def linear(x, w, p):
    return x @ w[f"{p}.weight"].T + w[f"{p}.bias"]


def gelu(x):
    return x * 0.5 * (1 + erf(x / np.sqrt(2)))


def paper_step_embedding(t, size):
    half = size // 2
    angles = t * 10000.0 ** (-np.arange(half) / half)
    return np.concatenate([np.cos(angles), np.sin(angles), np.zeros(size % 2)])


def paper_alphas_cumprod(steps):
    x = np.linspace(1, 2 * steps + 1, steps)
    return np.cumprod(np.exp(-0.1 / steps - x * 0.5 * 9.9 / steps**2))


def assert_near(found, expected):
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=2e-4, atol=2e-5)


def dense_propagation(model, pairs, n_layers, items=None):
    """LightGCN's convolution: mean over layers 0..K of D^-1/2 A D^-1/2 applied k times.

    Of the learned user embeddings and ``items``, by default the learned ones too.
    """
    w = weights(model)
    items = w["item_embedding.weight"] if items is None else items
    start = np.concatenate([w["user_embedding.weight"], items])
    n_users = len(w["user_embedding.weight"])
    adjacency = np.zeros((len(start), len(start)))
    for user, item in pairs:
        adjacency[user, n_users + item] = adjacency[n_users + item, user] = 1
    degree = np.maximum(adjacency.sum(axis=1), 1)
    adjacency = adjacency / np.sqrt(np.outer(degree, degree))
    layers = [np.linalg.matrix_power(adjacency, k) @ start for k in range(n_layers + 1)]
    mean = np.mean(layers, axis=0)
    return mean[:n_users], mean[n_users:]


def refusal(model_class, **changes):
    """The message for keys as a user gives them, wherever they are checked."""
    overrides = {"data_path": str(REPOSITORY / "dataset_atomic"), "use_gpu": False, **changes}
    with pytest.raises(UserError) as caught:
        model_class(Config(model_class.__name__, "planted", overrides=overrides), TinyDataset())
    return str(caught.value)


def train_steps(model, n_steps, learning_rate=0.05):
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    for _ in range(n_steps):
        optimizer.zero_grad()
        sum(model.calculate_loss(batch())).backward()
        optimizer.step()


def seeded_loss(model, seed=77):
    torch.manual_seed(seed)
    return torch.stack(model.calculate_loss(batch()))

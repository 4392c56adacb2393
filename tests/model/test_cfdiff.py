"""CF-Diff against dense NumPy in float64."""

from typing import Any

import numpy as np
import pytest
import torch
from channel_tools import assert_near, gelu, linear, paper_step_embedding, randomize, weights
from planted_row_tools import made_on_planted
from scipy.special import softmax

from recbole_diffusion import run_recbole_diffusion
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.models.cfdiff.model import CFDiff
from recbole_diffusion.models.cfdiff.network import CrossAttentionAutoencoder
from recbole_diffusion.nn.graph import BipartiteGraph

STEPS, K, D = 4, 5, 3
NOISE = {"noise_scale": 1.0, "noise_min": 0.1, "noise_max": 0.6}
KEYS = {"epochs": 0, "steps": STEPS, "sampling_steps": STEPS, "latent_size": K, "token_size": D,
        "n_layers": 2, **NOISE, "show_progress": False, "state": "WARNING"}  # fmt: skip


def made(planted: dict[str, Any], **keys: Any) -> tuple[CFDiff, np.ndarray]:
    """A model of drawn weights, and the train matrix [n_users, n_items]."""
    model, rows = made_on_planted("CFDiff", {**planted, **KEYS, **keys})
    return model.eval(), rows


def neighbourhoods(c: np.ndarray, rows: np.ndarray) -> dict[int, np.ndarray]:
    """Vectors of 2 hops [B, n_users] and 3 hops [B, n_items]; of an empty row zeros."""
    of_users = c @ rows.T / np.maximum(c.sum(axis=1, keepdims=True), 1)
    total = of_users.sum(axis=1, keepdims=True)
    return {2: of_users, 3: of_users @ rows / np.where(total > 0, total, 1)}


def encoded_hops(w: dict[str, np.ndarray], c: np.ndarray, rows: np.ndarray, hops: list[int]):
    """The encoded neighbourhoods [B, K] of each hop."""
    vectors = neighbourhoods(c, rows)
    return [vectors[hop] @ w[f"network.hop_encoders.{hop}.weight"] for hop in hops]


def as_tokens(w: dict[str, np.ndarray], p: str, z: np.ndarray) -> np.ndarray:
    return z[:, :, None] * w[f"{p}.direction"] + w[f"{p}.positions"]


def predicted(
    w: dict[str, np.ndarray], x_t: np.ndarray, hop_vectors: list[np.ndarray], steps: np.ndarray
) -> np.ndarray:
    """The network's rows [B, n_items] at their steps, from 0."""
    embedded = np.stack([paper_step_embedding(t, K) for t in steps])
    embedded = gelu(linear(embedded, w, "network.step_embedding.0"))
    z = linear(x_t, w, "network.encoder") + linear(embedded, w, "network.step_embedding.2")
    tokens = as_tokens(w, "network.tokens", z)
    queries = [as_tokens(w, f"network.hop_tokens.{n}", h) for n, h in enumerate(hop_vectors)]
    queries = queries or [tokens]
    for layer in range(2):
        shares = softmax(w[f"network.layers.{layer}.set_logits"])
        found = [
            softmax(q @ tokens.transpose(0, 2, 1) / np.sqrt(D), axis=2) @ tokens for q in queries
        ]
        tokens = tokens + sum(share * x for share, x in zip(shares, found, strict=True))
    return linear(linear(tokens, w, "network.numbers")[:, :, 0], w, "network.decoder")


def noise_left() -> np.ndarray:
    """1 - alpha_bar after each step [STEPS] of the schedule whose variance grows evenly."""
    return np.linspace(NOISE["noise_min"], NOISE["noise_max"], STEPS)


@pytest.mark.parametrize("hops", [[2], [3], [2, 3]])
def test_hops_are_those_of_dense_products(planted: dict[str, Any], hops: list[int]) -> None:
    """Of users' rows, of a row without items, and of an item that nobody has."""
    model, rows = made(planted, hops=hops)
    batch = model.rows.batch(torch.arange(len(rows)))
    found = model.hop_vectors(batch, model._item_matrices())
    assert not rows[0].any()
    for vector, expected in zip(found, encoded_hops(weights(model), rows, rows, hops), strict=True):
        assert_near(vector, expected)


def test_hop_matrices_learn_as_dense_products_do(planted: dict[str, Any]) -> None:
    """Gradients of R' W and R' R W."""
    model, rows = made(planted)
    for encoder, dense in zip(
        model.network.hop_encoders.values(), (rows.T, rows.T @ rows), strict=True
    ):
        matrix = encoder(model.graph)
        along = torch.randn(matrix.shape, generator=torch.Generator().manual_seed(2))
        (found,) = torch.autograd.grad((matrix * along).sum(), encoder.weight)
        assert_near(found, dense.T @ along.double().numpy())


@pytest.mark.parametrize("hops", [[], [2], [2, 3]])
def test_losses_are_square_errors_from_noisy_rows(planted: dict[str, Any], hops: list[int]) -> None:
    model, rows = made(planted, hops=hops)
    users, steps = np.array([1, 2, 5, 7]), np.array([0, 1, 3, 2])
    x, w = rows[users], weights(model)
    noise = np.random.default_rng(3).normal(size=x.shape)
    left = noise_left()[steps, None]
    x_t = np.sqrt(1 - left) * x + np.sqrt(left) * noise
    output = predicted(w, x_t, encoded_hops(w, x, rows, hops), steps)
    batch = model.rows.batch(torch.from_numpy(users))
    found = model.step_losses(batch, torch.from_numpy(steps), torch.from_numpy(noise).float())
    np.testing.assert_allclose(found.detach().numpy(), ((output - x) ** 2).mean(axis=1), rtol=1e-3)


def chain(
    w: dict[str, np.ndarray], c: np.ndarray, hop_vectors: list[np.ndarray], n_taken: int
) -> np.ndarray:
    """The reverse steps of Gaussian diffusion from the row itself."""
    kept = np.concatenate([[1], 1 - noise_left()])
    x_t = c
    for t in reversed(range(n_taken)):
        x = predicted(w, x_t, hop_vectors, np.full(len(c), t))
        before, after = kept[t], kept[t + 1]
        alpha = after / before
        of_start = np.sqrt(before) * (1 - alpha) / (1 - after)
        x_t = of_start * x + np.sqrt(alpha) * (1 - before) / (1 - after) * x_t
    return x_t


@pytest.mark.parametrize(
    ("hops", "n_taken"), [([], 2), ([2], 1), ([2, 3], 2), ([3, 2], STEPS)], ids=str
)
def test_scores_are_ends_of_the_chain(
    planted: dict[str, Any], hops: list[int], n_taken: int
) -> None:
    model, rows = made(planted, hops=hops, sampling_steps=n_taken)
    w, c = weights(model), rows[1:]
    expected = chain(w, c, encoded_hops(w, c, rows, hops), n_taken)
    scale = np.abs(expected).max()
    with torch.no_grad():
        found = model.full_sort_predict({model.USER_ID: torch.arange(1, len(rows))})
        other = model.score_histories([np.flatnonzero(rows[3]), []])
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=1e-5)
    np.testing.assert_allclose(other[0] / scale, expected[2] / scale, rtol=0, atol=1e-5)
    empty = np.zeros((1, rows.shape[1]))
    expected = chain(w, empty, encoded_hops(w, empty, rows, hops), n_taken)
    np.testing.assert_allclose(other[1:] / scale, expected / scale, rtol=0, atol=1e-5)


def test_scores_follow_weights_that_change(planted: dict[str, Any]) -> None:
    """The matrices that are kept between two calls are made anew."""
    model, rows = made(planted)
    users = {model.USER_ID: torch.arange(1, len(rows))}
    with torch.no_grad():
        before = model.full_sort_predict(users)
        model.network.hop_encoders["2"].weight.mul_(0.5)
        w, c = weights(model), rows[1:]
        expected = chain(w, c, encoded_hops(w, c, rows, [2, 3]), STEPS)
        found = model.full_sort_predict(users)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=1e-5)
    assert not torch.allclose(before, found)


def test_users_in_another_order_give_the_same_scores() -> None:
    """Where their rows of the weights move with them."""
    n_users, n_items = 6, 8
    draw = np.random.default_rng(5)
    rows = (draw.random((n_users, n_items)) < 0.4).astype(int)
    order = draw.permutation(n_users)
    network = randomize(
        CrossAttentionAutoencoder(n_users, n_items, [2, 3], STEPS, K, D, 2, 0.0)
    ).eval()
    permuted = CrossAttentionAutoencoder(n_users, n_items, [2, 3], STEPS, K, D, 2, 0.0).eval()
    permuted.load_state_dict(network.state_dict())
    weight = permuted.hop_encoders["2"].weight
    weight.data.copy_(network.hop_encoders["2"].weight[order])
    history = torch.from_numpy(rows[[2]]).float()
    found = []
    for part, content in ((network, rows), (permuted, rows[order])):
        users, items = (torch.from_numpy(ends) for ends in content.nonzero())
        graph = BipartiteGraph(users, items + n_users, torch.ones(len(users)), n_users + n_items)
        vectors = [
            history @ encoder(graph) / history.sum() for encoder in part.hop_encoders.values()
        ]
        found.append(part(history, vectors, torch.tensor([1])))
    torch.testing.assert_close(found[0], found[1])


def test_training_drops_entries_of_the_noisy_row_alone(planted: dict[str, Any]) -> None:
    """What the hops tell is whole, and so is the target."""
    model, rows = made(planted, dropout=0.5)
    seen: list[torch.Tensor] = []
    model.network.encoder.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    known: list[list[torch.Tensor]] = []
    model.network.register_forward_pre_hook(lambda module, args: known.append(args[1]))
    model.train().calculate_loss({model.USER_ID: torch.arange(1, len(rows))})
    (x_t,), (vectors,) = seen, known
    share = (x_t == 0).float().mean().item()
    assert 0.45 < share < 0.55
    expected = encoded_hops(weights(model), rows[1:], rows, [2, 3])
    for vector, whole in zip(vectors, expected, strict=True):
        assert_near(vector, whole)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"sampling_steps": 5}, "sampling_steps.*found 5, expected 1..4"),
        ({"hops": [2, 2]}, r"hops.*found \[2, 2\], expected each once"),
        ({"hops": [4]}, "hops.*4"),
        ({"noise_min": 0.7}, "noise_max"),
    ],
    ids=str,
)
def test_keys_that_do_not_fit_are_refused(
    planted: dict[str, Any], keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run_recbole_diffusion("CFDiff", "planted", (), {**planted, **KEYS, **keys})

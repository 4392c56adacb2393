"""GiffCF against NumPy in float64."""

from typing import Any

import numpy as np
import pytest
import torch
from channel_tools import assert_near, gelu, linear, paper_step_embedding, weights
from planted_row_tools import made_on_planted
from scipy.special import expit

from recbole_diffusion.models.giffcf.model import GiffCF

KEYS = {"epochs": 0, "embedding_size": 3, "mixer_size": 2, "step_embedding_size": 4, "steps": 3,
        "svd_rank": 4, "smoothing": 1.2, "noise_decay": 0.5, "show_progress": False,
        "state": "WARNING"}  # fmt: skip
OMEGA = 0.3


def made(planted: dict[str, Any], **keys: Any) -> tuple[GiffCF, np.ndarray]:
    """A model of drawn weights, and the train matrix [n_users, n_items]."""
    return made_on_planted("GiffCF", {**planted, **KEYS, **keys})


def smoothing(rows: np.ndarray) -> np.ndarray:
    """(P + omega V V') / (1 + omega) [n_items, n_items] of the train matrix."""
    of_users, of_items = (np.maximum(rows.sum(axis=n, keepdims=True), 1) for n in (1, 0))
    normalized = rows / np.sqrt(of_users * of_items)
    vectors = np.linalg.svd(normalized)[2][:4]
    return (normalized.T @ normalized + OMEGA * vectors.T @ vectors) / (1 + OMEGA)


def mixed(w: dict[str, np.ndarray], p: str, signals: list[np.ndarray], step: int) -> np.ndarray:
    """One stage's mixer of signals [B, n]."""
    embedded = gelu(linear(paper_step_embedding(step - 1, 4), w, "network.step_embedding.0"))
    embedded = linear(embedded, w, "network.step_embedding.2")
    hidden = linear(np.stack(signals, axis=2), w, f"{p}.of_signals")
    hidden = hidden + embedded @ w[f"{p}.of_step.weight"].T
    return linear(hidden * expit(hidden), w, f"{p}.output")[:, :, 0]


def predicted(
    model: GiffCF, z_t: np.ndarray, history: np.ndarray, smooth: np.ndarray, step: int
) -> np.ndarray:
    """The denoiser's rows [B, n_items] at one step."""
    w = weights(model)
    items = w["network.items.weight"]
    latent = [x / np.linalg.norm(x, axis=1, keepdims=True) @ items for x in (z_t, history)]
    middle = mixed(w, "network.latent_mixer", latent, step) @ items.T
    signals = [middle, history, history @ smooth]
    n_seen = w["network.item_mixer.of_signals.weight"].shape[1]
    return mixed(w, "network.item_mixer", signals[:n_seen], step)


@pytest.mark.parametrize(("is_seen", "n_seen"), [(True, 3), (False, 2)])
def test_losses_are_square_errors_from_smoothed_rows(
    planted: dict[str, Any], is_seen: bool, n_seen: int
) -> None:
    model, rows = made(planted, noise_scale=0.2, smoothed_history=is_seen)
    assert model.network.item_mixer.of_signals.in_features == n_seen
    smooth, x, steps = smoothing(rows), rows[[1, 2, 5, 7]], np.array([1, 2, 3, 2])
    rng = np.random.default_rng(3)
    noise, hidden = rng.normal(size=x.shape), rng.random(x.shape) < 0.5
    history = np.where(hidden, 0, 2 * x)
    time = 1.2 * steps[:, None] / 3
    z_t = (1 - time) * x + time * x @ smooth + 0.2 * 0.5 ** (3 - steps[:, None]) * noise
    output = np.concatenate([
        predicted(model, z[None], h[None], smooth, step)
        for z, h, step in zip(z_t, history, steps, strict=True)
    ])  # fmt: skip
    tensors = (torch.from_numpy(array).float() for array in (x, noise, history))
    ends, draws, known = tensors
    found = model.step_losses(ends, torch.from_numpy(steps), draws, known)
    assert_near(found, ((output - x) ** 2).mean(axis=1))


@pytest.mark.parametrize(
    ("decay", "is_seen"), [(0.0, True), (0.5, True), (1.0, True), (0.5, False)]
)
def test_scores_are_rows_that_are_sharpened_step_by_step(
    planted: dict[str, Any], decay: float, is_seen: bool
) -> None:
    model, rows = made(planted, noise_decay=decay, smoothed_history=is_seen)
    model.eval()
    history, smooth = rows[1:], smoothing(rows)

    def mean(x: np.ndarray, step: int) -> np.ndarray:
        return x + 1.2 * step / 3 * (x @ smooth - x)

    z_t = mean(history, 3)
    for step in (3, 2, 1):
        x = predicted(model, z_t, history, smooth, step)
        z_t = mean(x, step - 1) + decay * (z_t - mean(x, step))
    users = torch.arange(1, len(rows))
    assert_near(model.full_sort_predict({model.USER_ID: users}), z_t)
    assert_near(model.score_histories([np.flatnonzero(rows[3])]), z_t[2:3])


def test_the_graph_alone_smooths_where_the_ideal_filter_is_off(planted: dict[str, Any]) -> None:
    model, rows = made(planted, ideal_weight=0)
    of_users, of_items = (np.maximum(rows.sum(axis=n, keepdims=True), 1) for n in (1, 0))
    normalized = rows / np.sqrt(of_users * of_items)
    found = model.smoothed(torch.from_numpy(rows).float())
    assert_near(found, rows @ normalized.T @ normalized)
    assert model.vectors.shape == (rows.shape[1], 0)


def test_what_is_hidden_changes_what_the_network_knows(planted: dict[str, Any]) -> None:
    """The target and the smoothed row stay whole."""
    model, rows = made(planted, dropout=0.5)
    seen: list[tuple[torch.Tensor, ...]] = []
    model.step_losses = lambda *tensors: seen.append(tensors) or torch.zeros(len(tensors[0]))
    model.train().calculate_loss({model.USER_ID: torch.arange(1, len(rows))})
    ((x, _, _, history),) = seen
    assert_near(x, rows[1:])
    assert 0 < (history > 0).sum() < (x > 0).sum()
    assert set(history.unique().tolist()) == {0.0, 2.0}

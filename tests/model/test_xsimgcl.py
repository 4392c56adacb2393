"""XSimGCL against float64 NumPy."""

from typing import Any

import numpy as np
import pytest
import torch
from channel_tools import (
    BATCH,
    N_ITEMS,
    N_USERS,
    PAIRS,
    TinyDataset,
    assert_near,
    batch,
    randomize,
    settings,
    weights,
)

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.models.xsimgcl.model import XSimGCL

EDGES = sorted(set(PAIRS))
KEYS = {"n_layers": 3, "contrast_layer": 2, "noise": 0.0, "temperature": 0.4}
USERS, POSITIVE, NEGATIVE = (np.array(column) for column in BATCH.values())


def made(**changes: Any) -> XSimGCL:
    known = settings("XSimGCL", **{**KEYS, **changes})
    return randomize(XSimGCL(known, TinyDataset()))


def layers(model: XSimGCL) -> list[np.ndarray]:
    """Layers 0..3 of the convolution without noise, users first."""
    w = weights(model)
    found = [np.concatenate([w["user_embedding.weight"], w["item_embedding.weight"]])]
    adjacency = np.zeros((N_USERS + N_ITEMS,) * 2)
    for user, item in EDGES:
        adjacency[user, N_USERS + item] = adjacency[N_USERS + item, user] = 1
    degree = np.maximum(adjacency.sum(axis=1), 1)
    adjacency /= np.sqrt(np.outer(degree, degree))
    for _ in range(3):
        found.append(adjacency @ found[-1])
    return found


def info_nce(views: np.ndarray, anchors: np.ndarray) -> float:
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True).clip(1e-12) for x in (views, anchors)]
    similarities = unit[0] @ unit[1].T / 0.4
    return float((np.logaddexp.reduce(similarities, axis=1) - np.diag(similarities)).mean())


def test_scores_and_losses() -> None:
    model = made(contrastive_weight=0.7, reg_weight=0.3)
    found = layers(model)
    mean = np.mean(found[1:], axis=0)
    users, items = mean[:N_USERS], mean[N_USERS:]
    assert_near(model.full_sort_predict({"user_id": torch.arange(N_USERS)}), users @ items.T)
    ranking, contrast, regularization = model.calculate_loss(batch())
    margins = (users[USERS] * (items[POSITIVE] - items[NEGATIVE])).sum(axis=1)
    assert_near(ranking, np.logaddexp(0, -margins).mean())
    expected = sum(
        info_nce(mean[nodes], found[2][nodes])
        for nodes in (np.unique(USERS), np.unique(POSITIVE) + N_USERS)
    )
    assert_near(contrast, 0.7 * expected)
    start = found[0]
    used = (start[USERS], start[POSITIVE + N_USERS], start[NEGATIVE + N_USERS])
    squares = sum((part**2).sum() for part in used)
    assert_near(regularization, 0.3 * squares / len(USERS))


def test_noise_has_its_length_and_the_sign_of_the_embedding() -> None:
    model = made(n_layers=1, contrast_layer=1, noise=0.3)
    clean, noisy = (model._layers(is_noisy)[0] for is_noisy in (False, True))
    change = noisy - clean
    has_edges = clean.abs().sum(dim=1) > 0
    torch.testing.assert_close(
        change[has_edges].norm(dim=1), torch.full((int(has_edges.sum()),), 0.3)
    )
    assert (change * clean >= 0).all()
    assert torch.equal(change[~has_edges], torch.zeros_like(change[~has_edges]))


def test_a_layer_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match="contrast_layer"):
        XSimGCL.check_config({"n_layers": 2, "contrast_layer": 3})

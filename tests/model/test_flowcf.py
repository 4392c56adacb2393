"""FlowCF against NumPy in float64."""

from typing import Any

import numpy as np
import pytest
import torch
from channel_tools import assert_near, linear, paper_step_embedding, weights
from planted_row_tools import made_on_planted

from recbole_diffusion import run_recbole_diffusion
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.models.flowcf.model import FlowCF

KEYS = {"epochs": 0, "hidden_sizes": [5, 7], "step_embedding_size": 4, "flow_steps": 4,
        "show_progress": False, "state": "WARNING"}  # fmt: skip


def made(planted: dict[str, Any], **keys: Any) -> tuple[FlowCF, np.ndarray]:
    """A model of drawn weights, and the train matrix [n_users, n_items]."""
    return made_on_planted("FlowCF", {**planted, **KEYS, **keys})


def predicted(model: FlowCF, x: np.ndarray, step: int) -> np.ndarray:
    """f(x, t) of rows [B, n_items] at one step."""
    w = weights(model)
    embedded = linear(paper_step_embedding(step, 4), w, "network.step_layer")
    hidden = np.concatenate([x, np.tile(embedded, (len(x), 1))], axis=1)
    hidden = np.tanh(linear(hidden, w, "network.first_layer"))
    for n in range(len(model.network.layers_between)):
        hidden = np.tanh(linear(hidden, w, f"network.layers_between.{n}"))
    return linear(hidden, w, "network.last_layer")


def test_losses_are_square_errors_on_the_way(planted: dict[str, Any]) -> None:
    model, rows = made(planted)
    users, steps = np.array([1, 2, 5, 7]), np.array([0, 1, 3, 2])
    noise = np.random.default_rng(3).random((4, rows.shape[1]))
    share = rows.sum(axis=0) / (len(rows) - 1)
    x_end, time = rows[users], steps[:, None] / 4
    x_t = (noise < time * x_end + (1 - time) * share).astype(float)
    output = [predicted(model, x[None], step)[0] for x, step in zip(x_t, steps, strict=True)]
    ends, draws = (torch.from_numpy(x).float() for x in (x_end, noise))
    found = model.step_losses(ends, torch.from_numpy(steps), draws)
    assert_near(found, ((np.array(output) - x_end) ** 2).mean(axis=1))


def test_an_empty_prior_only_takes_items_away(planted: dict[str, Any]) -> None:
    model, rows = made(planted, prior="empty")
    x_end = torch.from_numpy(rows[1:]).float()
    x_t = model.flow.q_sample(x_end, torch.full((len(x_end),), 0.5), torch.rand_like(x_end))
    assert 0 < x_t.sum() < x_end.sum()
    assert (x_t <= x_end).all()


@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("n_taken", [1, 2, 4])
def test_scores_are_the_last_prediction(planted: dict[str, Any], n_taken: int, keeps: bool) -> None:
    model, rows = made(planted, sampling_steps=n_taken, keep_history=keeps)
    model.eval()
    x_t = rows[1:]
    for step in range(4 - n_taken, 4):
        x_end = predicted(model, x_t, step)
        time, later = step / 4, (step + 1) / 4
        x_t = x_t + (later - time) * (np.clip(x_end, 0, 1) - x_t) / (1 - time)
        x_t = np.maximum(x_t, rows[1:]) if keeps else x_t
    users = torch.arange(1, len(rows))
    assert_near(model.full_sort_predict({model.USER_ID: users}), x_end)
    history = np.flatnonzero(rows[3])
    assert_near(model.score_histories([history]), x_end[2:3])


def test_drawn_rows_are_drawn_by_their_probabilities(planted: dict[str, Any]) -> None:
    model, rows = made(planted, sampling="draw", keep_history=False)
    history = torch.from_numpy(rows[1:2]).float()
    x_end = torch.linspace(-0.5, 1.5, rows.shape[1]).expand(4000, -1)
    drawn = model._between(x_end, history.expand_as(x_end), history, 3)
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    expected = 0.5 * (history + x_end[:1].clamp(0, 1))  # from step 2 of 4 to step 3
    torch.testing.assert_close(drawn.mean(dim=0, keepdim=True), expected, rtol=0, atol=0.04)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"sampling_steps": 5}, "`sampling_steps`: found 5, expected 1..4"),
        ({"hidden_sizes": []}, r"`hidden_sizes`: found \[\], expected .* one or more"),
    ],
)
def test_steps_and_layers_that_there_are_not_are_refused_before_data_are_read(
    keys: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        run_recbole_diffusion("FlowCF", "nowhere", (), {**KEYS, **keys})

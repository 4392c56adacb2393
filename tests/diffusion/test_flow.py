"""Flow matching of binary rows, against sums over all cases."""

import itertools

import numpy as np
import pytest
import torch

from recbole_diffusion.diffusion.flow import BinaryFlow

PRIOR = torch.tensor([0.0, 0.25, 0.6, 1.0])
ROWS = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)))
N = len(ROWS)


def test_rows_on_the_path_have_the_share_of_ones_that_two_draws_give() -> None:
    flow, time = BinaryFlow(PRIOR), 0.3
    # Each entry is the row's with probability t, and else drawn by its prior.
    expected = time * ROWS + (1 - time) * PRIOR
    noise = (torch.arange(1000) + 0.5) / 1000
    drawn = torch.stack(
        [flow.q_sample(ROWS, torch.full((N,), time), n.expand_as(ROWS)) for n in noise]
    )
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(drawn.mean(dim=0), expected, rtol=0, atol=1e-3)


def test_the_path_begins_at_the_prior_and_ends_at_the_row() -> None:
    flow = BinaryFlow(PRIOR)
    torch.testing.assert_close(flow.probability(ROWS, torch.zeros(N)), PRIOR.expand_as(ROWS))
    assert torch.equal(flow.probability(ROWS, torch.ones(N)), ROWS)


@pytest.mark.parametrize(("time", "later"), [(0.0, 0.5), (0.3, 0.4), (0.3, 1.0), (0.8, 0.8)])
def test_a_step_towards_the_true_end_stays_on_the_path(time: float, later: float) -> None:
    flow = BinaryFlow(PRIOR)
    now = flow.probability(ROWS, torch.full((N,), time))
    then = flow.probability(ROWS, torch.full((N,), later))
    torch.testing.assert_close(flow.step(ROWS, now, time, later), then)
    # So does the mean over the drawn rows that may be there.
    states = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)))
    chances = torch.where(states.bool().unsqueeze(0), now.unsqueeze(1), 1 - now.unsqueeze(1))
    stepped = flow.step(ROWS.unsqueeze(1), states.unsqueeze(0), time, later)
    mean = (chances.prod(dim=2, keepdim=True) * stepped).sum(dim=1)
    torch.testing.assert_close(mean, then)


def test_velocity_is_the_change_of_the_path_in_time() -> None:
    flow, time, step = BinaryFlow(PRIOR), 0.4, 1e-3
    before, after = (flow.probability(ROWS, torch.full((N,), t)) for t in (time, time + step))
    change = (after - before) / step
    torch.testing.assert_close(flow.velocity(ROWS, before, time), change, rtol=0, atol=1e-3)


@pytest.mark.parametrize("prior", [[-0.1, 0.5], [0.5, 1.1], [np.nan], [[0.5]]])
def test_a_prior_that_is_none_is_refused(prior: list[float]) -> None:
    with pytest.raises(ValueError, match="prior"):
        BinaryFlow(torch.tensor(prior))

"""Blurring and sharpening on a graph, against matrix exponentials."""

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from recbole_diffusion.diffusion.heat import HeatDiffusion, blurred, sharpened

TIME = 0.8


@pytest.fixture
def graph(rng: np.random.Generator) -> np.ndarray:
    """Symmetric P [6, 6] with eigenvalues from 0 to 1."""
    half = rng.normal(size=(9, 6))
    product = half.T @ half
    return product / np.linalg.eigvalsh(product)[-1]


@pytest.mark.parametrize("process", ["blurred", "sharpened"])
def test_many_steps_give_the_exact_solution(
    rng: np.random.Generator, graph: np.ndarray, process: str
) -> None:
    signals = rng.normal(size=(3, 6))
    change = graph - np.eye(6) if process == "blurred" else -graph
    exact = signals @ expm(TIME * change)
    function = {"blurred": blurred, "sharpened": sharpened}[process]
    x, p = torch.from_numpy(signals), torch.from_numpy(graph)

    def error(n_steps: int, solver: str) -> float:
        found = function(x, lambda signal: signal @ p, TIME, n_steps, solver)
        return float(np.abs(found.numpy() - exact).max())

    # Halving the step halves the error of the first order, and takes 16 times off the fourth.
    assert error(16, "euler") / error(32, "euler") == pytest.approx(2, rel=0.1)
    assert error(2, "runge-kutta") / error(4, "runge-kutta") == pytest.approx(16, rel=0.3)
    assert error(16, "runge-kutta") < 1e-6


def test_one_step_of_euler_is_the_linear_filter(
    rng: np.random.Generator, graph: np.ndarray
) -> None:
    x, p = torch.from_numpy(rng.normal(size=(3, 6))), torch.from_numpy(graph)
    found = blurred(x, lambda signal: signal @ p, 1.0, 1, "euler")
    torch.testing.assert_close(found, x @ p)
    assert torch.equal(sharpened(x, lambda signal: signal @ p, 1.0, 0, "euler"), x)


def test_rows_of_a_step_are_those_of_the_filter(
    rng: np.random.Generator, graph: np.ndarray
) -> None:
    x, noise, steps = rng.normal(size=(4, 6)), rng.normal(size=(4, 6)), np.array([0, 1, 2, 4])
    diffusion = HeatDiffusion(4, 1.5, noise_scale=0.3, noise_decay=0.5)
    filters = [np.eye(6) + 1.5 * t / 4 * (graph - np.eye(6)) for t in steps]
    means = np.stack([row @ f for row, f in zip(x, filters, strict=True)])
    tensors = (torch.from_numpy(array) for array in (x, x @ graph, steps, noise))
    found = diffusion.q_sample(*tensors).numpy()
    np.testing.assert_allclose(found, means + (0.3 * 0.5 ** (4 - steps))[:, None] * noise)


def test_a_right_prediction_leads_back_to_the_row(
    rng: np.random.Generator, graph: np.ndarray
) -> None:
    """The error of step T is halved in each step; without one the way back is exact."""
    x = torch.from_numpy(rng.normal(size=(3, 6)))
    smoothed, error = x @ torch.from_numpy(graph), torch.from_numpy(rng.normal(size=(3, 6)))
    diffusion = HeatDiffusion(3, 0.9, noise_decay=0.5)
    z_t = diffusion.mean(x, smoothed, torch.tensor([3])) + error
    for step in (3, 2, 1):
        z_t = diffusion.reverse(x, smoothed, z_t, step)
        mean = diffusion.mean(x, smoothed, torch.tensor([step - 1]))
        torch.testing.assert_close(z_t, mean + 0.5 ** (4 - step) * error)
    torch.testing.assert_close(z_t, x + error / 8)

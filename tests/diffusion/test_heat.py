"""Blurring and sharpening on a graph, against matrix exponentials."""

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from recbole_diffusion.diffusion.heat import blurred, sharpened

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

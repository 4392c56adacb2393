"""Heat on a graph: signals that are blurred along its edges, and sharpened again.

Source: Choi et al. 2023 (BSPM), section 3; both are ordinary differential equations in time.
"""

from collections.abc import Callable
from typing import Literal

from torch import Tensor

Smoothing = Callable[[Tensor], Tensor]
Solver = Literal["euler", "runge-kutta"]


def blurred(x: Tensor, smooth: Smoothing, time: float, n_steps: int, solver: Solver) -> Tensor:
    """The solution of dx/dt = x P - x, the heat equation of the graph's Laplacian I - P.

    Args:
        x: Signals at time 0, [B, n].
        smooth: Product with P.
        time: When the solution is wanted.
        n_steps: Of the solver; 0 gives the signals themselves.
        solver: Of first or of fourth order.

    Returns:
        [B, n].
    """
    return _solved(lambda signal: smooth(signal) - signal, x, time, n_steps, solver)


def sharpened(x: Tensor, smooth: Smoothing, time: float, n_steps: int, solver: Solver) -> Tensor:
    """The solution of dx/dt = -x P, which takes away what is low in frequency.

    Args:
        x: Signals at time 0, [B, n].
        smooth: Product with P.
        time: When the solution is wanted.
        n_steps: Of the solver; 0 gives the signals themselves.
        solver: Of first or of fourth order.

    Returns:
        [B, n].
    """
    return _solved(lambda signal: -smooth(signal), x, time, n_steps, solver)


def _solved(change: Smoothing, x: Tensor, time: float, n_steps: int, solver: Solver) -> Tensor:
    for _ in range(n_steps):
        step = time / n_steps
        first = change(x)
        if solver == "euler":
            x = x + step * first
            continue
        second = change(x + step / 2 * first)
        third = change(x + step / 2 * second)
        fourth = change(x + step * third)
        x = x + step / 6 * (first + 2 * second + 2 * third + fourth)
    return x

"""Heat on a graph: signals that are blurred along its edges, and sharpened again.

Source: Choi et al. 2023 (BSPM), section 3; both are ordinary differential equations in time. What
sharpens may also be a network (``HeatDiffusion``).
"""

from collections.abc import Callable
from typing import Literal

import torch
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


class HeatDiffusion:
    """Rows that the heat equation smooths, in steps of which each is a first-order solution.

    z_t = F_t x + sigma_t noise, F_t = I + a t / T (P - I). The reverse is deterministic.

    Args:
        steps: T.
        strength: a, the time at step T.
        noise_scale: sigma_T.
        noise_decay: sigma_(t-1) / sigma_t.

    Source: Zhu et al. 2024 (GiffCF), section 3.
    """

    def __init__(
        self, steps: int, strength: float, noise_scale: float = 0.0, noise_decay: float = 1.0
    ) -> None:
        self.steps, self.strength = steps, strength
        self.noise_scale, self.noise_decay = noise_scale, noise_decay

    def mean(self, x: Tensor, smoothed: Tensor, steps: Tensor) -> Tensor:
        """F_t x.

        Args:
            x: Rows [B, n].
            smoothed: x P [B, n].
            steps: t of each row, 0 to T, int64 [B], or [1] for all.

        Returns:
            [B, n].
        """
        time = self.strength / self.steps * steps.to(x.dtype)
        return torch.lerp(x, smoothed, time.unsqueeze(1))

    def q_sample(self, x: Tensor, smoothed: Tensor, steps: Tensor, noise: Tensor) -> Tensor:
        """z_t of rows x [B, n]; ``noise`` is standard normal [B, n], the others as of ``mean``."""
        mean = self.mean(x, smoothed, steps)
        if not self.noise_scale:
            return mean
        scale = self.noise_scale * self.noise_decay ** (self.steps - steps).to(x.dtype)
        return mean + scale.unsqueeze(1) * noise

    def reverse(self, x: Tensor, smoothed: Tensor, z_t: Tensor, step: int) -> Tensor:
        """z_(t-1): what is predicted of it, and what is left of the error of z_t.

        Args:
            x: Predicted rows [B, n].
            smoothed: x P [B, n].
            z_t: Rows [B, n] at ``step``.
            step: t, 1 to T.

        Returns:
            F_(t-1) x + sigma_(t-1) / sigma_t (z_t - F_t x), [B, n].
        """
        steps = torch.tensor([[step], [step - 1]], device=x.device)
        here, before = (self.mean(x, smoothed, t) for t in steps)
        return before + self.noise_decay * (z_t - here)

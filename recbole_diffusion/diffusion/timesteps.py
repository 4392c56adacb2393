"""Samplers of diffusion steps for training.

A sampler draws steps t with probability p_t and gives each draw the weight 1 / (p_t * T), so that
the mean of weight * loss has the expectation of the mean loss over all steps, whatever p is.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn


class TimestepSampler(nn.Module, ABC):
    """Interface of both samplers, and the draw itself.

    Args:
        num_timesteps: Number of steps T, at least 1.

    Raises:
        ValueError: If `num_timesteps` is below 1.
    """

    uniform: Tensor

    def __init__(self, num_timesteps: int) -> None:
        super().__init__()
        if num_timesteps < 1:
            raise ValueError(f"key `steps`: found {num_timesteps}, expected >= 1")
        self.num_timesteps = num_timesteps
        uniform = torch.full((num_timesteps,), 1 / num_timesteps, dtype=torch.float64)
        self.register_buffer("uniform", uniform, persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Follow a move to another device, but not a cast: weighted losses overflow in float16."""
        return super()._apply(lambda tensor: tensor.to(fn(tensor).device), recurse)

    @abstractmethod
    def probabilities(self) -> Tensor:
        """Probability of each step.

        Returns:
            Probabilities [T], float64, with sum 1.
        """

    @abstractmethod
    def update(self, timesteps: Tensor, losses: Tensor) -> None:
        """Learn from the losses of a batch.

        Args:
            timesteps: Steps [B], int64, in 0..T-1.
            losses: Loss of each row at its step [B], without the sampling weight, >= 0.
        """

    def sample(
        self, batch_size: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw one step for each row of a batch.

        Args:
            batch_size: Number of rows B, at least 1.
            generator: Source of randomness, on the device of the sampler.

        Returns:
            Timesteps [B], int64, 0-based (t = 0 is the papers' step 1), and weights
            1 / (p_t * T) [B], float32.

        Source: Wang et al. 2023, Eq. 13-14.
        """
        probabilities = self.probabilities()
        timesteps = torch.multinomial(
            probabilities, batch_size, replacement=True, generator=generator
        )
        weights = 1 / (probabilities[timesteps] * self.num_timesteps)
        return timesteps, weights.float()


class UniformSampler(TimestepSampler):
    """All steps are equally likely, all weights are 1.

    Source: Wang et al. 2023, Eq. 13.
    """

    def probabilities(self) -> Tensor:
        """Probability 1 / T for each step [T], float64."""
        return self.uniform

    def update(self, timesteps: Tensor, losses: Tensor) -> None:
        """Nothing to learn."""


class ImportanceSampler(TimestepSampler):
    """Steps with large recent losses are more likely.

    The probability of a step is proportional to sqrt(mean(loss ** power)) over its last losses. It
    is uniform until each step has a full history, and while all losses are 0.

    Args:
        num_timesteps: Number of steps T, at least 1.
        history_size: Number H of losses kept for each step, at least 1.
        uniform_prob: Share of the probability that is spread uniformly, in [0, 1].
        power: 2 for the root of the mean square (DiffRec), 1 for the root of the mean (LD4MRec).

    Raises:
        ValueError: If an argument is out of range.

    Source: Wang et al. 2023, Eq. 14; LD4MRec, Eq. 8.
    """

    history: Tensor
    count: Tensor
    # What `update` learns from; a training by several processes gives the rows of all of them.
    of_all_processes: Callable[[Tensor], Tensor] = staticmethod(lambda rows: rows)

    def __init__(
        self,
        num_timesteps: int,
        history_size: int = 10,
        uniform_prob: float = 0.001,
        power: int = 2,
    ) -> None:
        super().__init__(num_timesteps)
        if history_size < 1:
            raise ValueError(f"key `history_size`: found {history_size}, expected >= 1")
        if not 0 <= uniform_prob <= 1:
            raise ValueError(f"key `uniform_prob`: found {uniform_prob}, expected 0..1")
        if power not in (1, 2):
            raise ValueError(f"key `power`: found {power}, expected 1 or 2")
        self.history_size = history_size
        self.uniform_prob = uniform_prob
        self.power = power
        # A ring per step: loss number n of a step lies in slot n modulo H.
        self.register_buffer("history", torch.zeros(num_timesteps, history_size))
        self.register_buffer("count", torch.zeros(num_timesteps, dtype=torch.int64))

    def probabilities(self) -> Tensor:
        """Probability of each step from its last losses.

        Returns:
            Probabilities [T], float64, with sum 1.
        """
        root = self.history.double().pow(self.power).mean(dim=1).sqrt()
        total = root.sum()
        importance = (1 - self.uniform_prob) * root / total + self.uniform_prob * self.uniform
        is_known = (self.count >= self.history_size).all() & (total > 0)
        return torch.where(is_known, importance, self.uniform)  # no branch: no device sync

    def update(self, timesteps: Tensor, losses: Tensor) -> None:
        """Keep the last `history_size` losses of each step, in batch order.

        Args:
            timesteps: Steps [B], int64, in 0..T-1; a step may occur any number of times.
            losses: Loss of each row at its step [B], without the sampling weight, >= 0.

        Raises:
            ValueError: If the shapes differ.
        """
        if timesteps.dim() != 1 or losses.shape != timesteps.shape:
            raise ValueError(
                f"`losses`, `timesteps`: found shapes {list(losses.shape)}, "
                f"{list(timesteps.shape)}, expected both [B]"
            )
        timesteps, losses = self.of_all_processes(timesteps), self.of_all_processes(losses)
        batch_count = torch.bincount(timesteps, minlength=self.num_timesteps)  # [T]
        steps, order = torch.sort(timesteps, stable=True)
        # In the sorted batch each step is one run; the rank is the place within it.
        run_start = batch_count.cumsum(0) - batch_count
        rank = torch.arange(len(steps), device=steps.device) - run_start[steps]
        slot = (self.count[steps] + rank) % self.history_size
        # Earlier losses of a long run would share a slot with later ones.
        is_kept = rank >= batch_count[steps] - self.history_size
        kept_losses = losses.detach()[order[is_kept]].to(self.history.dtype)
        self.history[steps[is_kept], slot[is_kept]] = kept_losses
        self.count += batch_count

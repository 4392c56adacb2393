"""The absorbing diffusion process of ordered sequences: items vanish, one after the other.

Like the Gaussian process it has no weights and knows nothing of users: it takes items by their
places in a sequence, and the level of the process, from 0 (nothing is absorbed) to 1 (all is).
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

Rule = Literal["age", "random", "both"]
"""What an item's absorption time hangs on."""

RULES = ("age", "random", "both")


class Absorbed(NamedTuple):
    """What the process left of some items at a level.

    Attributes:
        is_present: Whether a denoiser still sees the item, bool [n].
        is_target: Whether the item vanished in its time, bool [n]; reverse steps give it back.
        time: Absorption time in [0, 1), float32 [n]; reverse steps give back the greatest first.
    """

    is_present: Tensor
    is_target: Tensor
    time: Tensor


class AbsorbingDiffusion:
    r"""Forward process and posterior of items that are there or gone.

    An item is absorbed at level s if its time is below s. Its age is the number of later items.

    - ``age``: the time is age / length, so that at level s the latest ceil(s N) of N are gone, and
      what remains is a prefix.
    - ``random``: the time is uniform in [0, 1), whatever the age.
    - ``both``: as ``age``; above level 0 each item is hidden as well with a fixed probability p.

    Args:
        rule: One of them.
        share: p in [0, 1); only read for ``both``.

    Raises:
        ValueError: Another rule, or a share out of range.

    Source: Austin et al. 2021 (absorbing states; uniform times are their linear schedule);
    Bansal et al. 2022 (a process that is not random).
    """

    def __init__(self, rule: Rule, share: float = 0.0) -> None:
        if rule not in RULES:
            raise ValueError(f"`rule`: found {rule!r}, expected one of {', '.join(RULES)}")
        if not 0 <= share < 1:
            raise ValueError(f"`share`: found {share}, expected 0 to below 1")
        self.rule, self.share = rule, share

    def q_sample(self, level: Tensor, age: Tensor, length: Tensor, noise: Tensor) -> Absorbed:
        """Draw what is left at a level from q(x_s | x_0).

        Args:
            level: s of each item's sequence, float [n], in [0, 1].
            age: Number of later items of the sequence, int64 [n].
            length: Number N of its items, int64 [n].
            noise: Uniform in [0, 1), float [n].
        """
        time = noise if self.rule == "random" else age / length
        is_target = time < level
        is_shown = (noise >= self.hidden_share) | (level == 0)
        return Absorbed(~is_target & is_shown, is_target, time)

    @property
    def hidden_share(self) -> float:
        """Of what age leaves, the share that is hidden above level 0."""
        return self.share if self.rule == "both" else 0.0

    def survival(self, level: Tensor, age: Tensor, length: Tensor) -> Tensor:
        """Probability that an item is present at a level [n]; arguments as in ``q_sample``."""
        if self.rule == "random":
            return 1 - level
        is_left = (age / length >= level).to(level.dtype)
        return torch.where(level > 0, (1 - self.hidden_share) * is_left, is_left)

    def q_posterior(self, earlier: Tensor, level: Tensor, age: Tensor, length: Tensor) -> Tensor:
        """Probability that an item which is gone at a level is there at an earlier one.

        Args:
            earlier: t [n], float, in [0, s].
            level: s [n].
            age: As in ``q_sample``.
            length: As in ``q_sample``.

        Returns:
            q(present at t | absent at s, x_0) [n]; 0 for an item that is never absent at s.

        Source: Austin et al. 2021, Eq. 3, of an absorbing state.
        """
        now = self.survival(level, age, length)
        gained = self.survival(earlier, age, length) - now
        return torch.where(now < 1, gained / (1 - now).clamp_min(torch.finfo(now.dtype).tiny), 0.0)

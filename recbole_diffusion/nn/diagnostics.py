"""Figures that tell how scores and vectors change."""

from torch import Tensor


def relative_change(now: Tensor, before: Tensor) -> Tensor:
    """Mean of |now - before| / |before| over all elements that were not 0 before.

    Source: SimDiff, Eq. 1 (Figure 3), which leaves a change from 0 open.
    """
    is_nonzero = before != 0
    return ((now - before)[is_nonzero] / before[is_nonzero]).abs().mean()

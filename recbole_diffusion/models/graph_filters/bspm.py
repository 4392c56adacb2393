"""BSPM: rows are blurred along the graph of items, and sharpened again.

Source: Choi et al. 2023, Blurring-Sharpening Process Models for Collaborative Filtering (SIGIR).
"""

from typing import Any

from torch import Tensor

from recbole_diffusion.diffusion.heat import blurred, sharpened
from recbole_diffusion.models.graph_filters.gfcf import GraphFilter
from recbole_diffusion.models.graph_filters.settings import BSPMSettings


class BSPM(GraphFilter):
    """The blurring process, the ideal low-pass filter, and the sharpening process."""

    def __init__(self, config: Any, dataset: Any) -> None:
        self.process = BSPMSettings(config)
        super().__init__(config, dataset, self.process)

    def filtered(self, rows: Tensor) -> Tensor:
        """Early merge sharpens both, late merge what is blurred alone."""
        keys = self.process
        ideal = self.ideal_weight * self.ideal(rows) if self.ideal_weight else 0.0
        scores = blurred(rows, self.smooth, keys.blur_time, keys.blur_steps, keys.blur_solver)
        if keys.merge == "early":
            scores = scores + ideal
        scores = sharpened(
            scores, self.smooth, keys.sharpen_time, keys.sharpen_steps, keys.sharpen_solver
        )
        return scores + ideal if keys.merge == "late" else scores

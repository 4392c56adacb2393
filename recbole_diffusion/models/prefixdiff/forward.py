"""Step 2 of PrefixDiff: prefixes of histories at random levels, and what a reverse step restores.

The numbered steps are those of ``docs/models/prefixdiff.md``.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from recbole_diffusion.diffusion.absorbing import Absorbed, AbsorbingDiffusion
from recbole_diffusion.models.prefixdiff.prefixes import Prefixes
from recbole_diffusion.models.prefixdiff.settings import PrefixDiffSettings
from recbole_diffusion.nn.rows import RowBatch
from recbole_diffusion.nn.softmax import Targets

# Items of a history that its number of prefixes follows, where all of it is read.
MOST_COUNTED = 500


class PrefixSampler:
    """Draws prefixes of histories, and the items that are to come back.

    Args:
        keys: Settings.
        max_length: Latest items that a denoiser reads; None: all.
        clock: When each item of whole histories was [nnz].
    """

    def __init__(
        self,
        keys: PrefixDiffSettings,
        max_length: int | None,
        clock: Callable[[RowBatch], Tensor],
    ) -> None:
        self.process = AbsorbingDiffusion(keys.absorption, keys.absorbed_share)
        self.levels = keys.levels
        self.prefix_share = keys.prefix_share
        self.horizon = keys.horizon
        self.horizon_decay = keys.horizon_decay
        self.max_length = max_length
        self.clock = clock

    def draw(self, histories: RowBatch) -> tuple[Prefixes, Targets]:
        """Prefixes of each history, as many as a share of its items, at levels of the range."""
        of = torch.arange(len(histories.lengths), device=histories.items.device)
        of = of.repeat_interleave(self.n_prefixes(histories.lengths))
        return self._at(histories, of, *self.levels)

    def draw_one(
        self, histories: RowBatch, levels: tuple[float, float] | None = None
    ) -> tuple[Prefixes, Targets]:
        """One prefix of each history, at a level between two; by default those of the range."""
        of = torch.arange(len(histories.lengths), device=histories.items.device)
        return self._at(histories, of, *(self.levels if levels is None else levels))

    def _at(
        self, histories: RowBatch, of: Tensor, low: float, high: float
    ) -> tuple[Prefixes, Targets]:
        """A prefix of each history ``of``, at a level between two."""
        noise = torch.rand_like(histories.values)
        rows, drawn = histories.take(of), histories._replace(values=noise).take(of).values
        level = self._draw_levels(rows.lengths, of, low, high)
        absorbed = self.process.q_sample(level[rows.rows], rows.ages, rows.row_lengths, drawn)
        is_known = ~absorbed.is_target
        is_present = absorbed.is_present.float()
        prefixes = Prefixes(
            rows._replace(values=is_present).keep(is_known),
            self.clock(rows)[is_known],
            level,
            histories._replace(values=(noise >= self.process.hidden_share).float()),
            of,
        )
        return prefixes, self._targets(rows, absorbed)

    def n_prefixes(self, lengths: Tensor) -> Tensor:
        """Prefixes of histories in a step: a share of their items, of those that are counted."""
        counted = lengths.clamp_max(self.max_length or MOST_COUNTED)
        return (self.prefix_share * counted).ceil().long()

    def _draw_levels(self, lengths: Tensor, of: Tensor, low: float, high: float) -> Tensor:
        """A level for each prefix, at which one item remains within what a denoiser reads.

        Those of a history are spread: one in each of as many equal parts as it has prefixes.
        """
        read = lengths if self.max_length is None else lengths.clamp_max(self.max_length)
        most = ((read - 1) / lengths).clamp_max(high)
        counts = of.bincount()
        place = torch.arange(len(of), device=of.device) - (counts.cumsum(0) - counts)[of]
        share = (place + torch.rand_like(most)) / counts[of]
        return torch.minimum(low + (most - low).clamp_min(0) * share, most)

    def _targets(self, rows: RowBatch, absorbed: Absorbed) -> Targets:
        """The ``horizon`` items that a reverse step gives back first."""
        gone = rows._replace(values=absorbed.time).keep(absorbed.is_target)
        order = (gone.rows.double() + (1 - gone.values.double()) / 2).argsort()
        prefixes, items = gone.rows, gone.items[order]
        place = gone.places
        is_near = place < self.horizon
        prefixes, items, place = prefixes[is_near], items[is_near], place[is_near]
        weights = (1.0 + place).pow(-self.horizon_decay)
        total = weights.new_zeros(len(rows.lengths)).index_add_(0, prefixes, weights)
        return Targets(prefixes, items, weights / total[prefixes])

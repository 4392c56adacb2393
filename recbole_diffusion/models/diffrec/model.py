"""DiffRec and T-DiffRec: whole interaction rows, noised a little and generated again.

Wang et al. 2023, "Diffusion Recommender Model", https://doi.org/10.1145/3539618.3591663. Departures
from the paper, and from RecBole's model of this name, stand in ``docs/models/diffrec.md``.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from recbole_diffusion.base.errors import UserError, expect, refusals_of
from recbole_diffusion.data.recency import Recency, times_of
from recbole_diffusion.diffusion.inference import (
    HiddenChain,
    ReverseCoefficients,
    reverse_coefficients,
)
from recbole_diffusion.diffusion.process import GaussianDiffusion
from recbole_diffusion.diffusion.schedule import make_betas, respaced_betas
from recbole_diffusion.diffusion.timesteps import ImportanceSampler, UniformSampler
from recbole_diffusion.models.base import HistoryRecommender, MeanOverUsers
from recbole_diffusion.models.diffrec.settings import DiffRecSettings, TDiffRecSettings
from recbole_diffusion.nn.layers import MirroredMLP
from recbole_diffusion.nn.rows import DenseRows, InteractionRows, RowBatch
from recbole_diffusion.training.carry import ITEMS, WHOLE, Axes


class DiffRec(MeanOverUsers, HistoryRecommender):
    """A denoiser of users' interaction rows, trained at random steps of a diffusion process.

    Source: Wang et al. 2023, sections 3.1-3.3.
    """

    id_axes: Mapping[str, Axes] = {
        "denoiser.first_layer.weight": (WHOLE, ITEMS),
        "denoiser.last_layer.*": (ITEMS,),
    }

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        keys = DiffRecSettings(config)
        self.steps = keys.steps
        self.mean_type = keys.mean_type
        self.reweight = keys.reweight
        self.use_half_snr = keys.use_half_snr
        self.noise_scale = keys.noise_scale
        self.sampling_steps = keys.sampling_steps
        self.sampling_noise = keys.sampling_noise
        self._check_settings(config)
        self.rows = self._make_rows(config, dataset)
        self._build_diffusion(config)
        self.denoiser = MirroredMLP(
            self._diffused_size(config),
            keys.hidden_sizes,
            keys.step_embedding_size,
            keys.dropout,
            keys.norm,
        )
        self._chain: HiddenChain | None = None
        self._weights_of_chain: list[Any] = []

    def _check_settings(self, config: Any) -> None:
        keys = DiffRecSettings(config)
        steps, noise_scale, respaced = self.steps, self.noise_scale, keys.respaced_steps
        is_step = self.sampling_steps <= steps
        expect(is_step, "sampling_steps", self.sampling_steps, f"0..{steps} (`steps`)")
        if noise_scale == 0 and (self.reweight or self.mean_type == "eps"):
            raise UserError(
                "key `noise_scale`: found 0, which is no noise at all: expected `reweight: false` "
                "and `mean_type: x0` beside it"
            )
        is_respaced = type(respaced) is int and (1 if noise_scale else steps) <= respaced <= steps
        expected = f"null or 1..{steps} (`steps`); null without noise"
        expect(respaced is None or is_respaced, "respaced_steps", respaced, expected)
        check_sizes("hidden_sizes", keys.hidden_sizes)

    def _diffused_size(self, config: Any) -> int:
        """Width of what is noised and generated."""
        n_items: int = self.n_items
        return n_items

    def _make_rows(self, config: Any, dataset: Any) -> InteractionRows:
        users, items = (dataset.inter_feat[f].numpy() for f in (self.USER_ID, self.ITEM_ID))
        return InteractionRows(users, items, self.n_users)

    def _build_diffusion(self, config: Any) -> None:
        keys = DiffRecSettings(config)
        sampler = ImportanceSampler if keys.importance_sampling else UniformSampler
        self.sampler = sampler(self.steps)
        self.diffusion = self.respaced = None
        kept = torch.arange(self.steps)
        if self.noise_scale > 0:
            with refusals_of(type(self).__name__, ValueError):
                betas = make_betas(
                    keys.noise_schedule,
                    self.steps,
                    noise_scale=self.noise_scale,
                    noise_min=keys.noise_min,
                    noise_max=keys.noise_max,
                    first_beta=keys.first_beta,
                )
                respaced, kept = respaced_betas(betas, keys.respaced_steps or self.steps)
            self.diffusion, self.respaced = GaussianDiffusion(betas), GaussianDiffusion(respaced)
        self.register_buffer("kept_steps", kept, persistent=False)

    def calculate_loss(self, interaction: Any) -> Tensor | tuple[Tensor, ...]:
        """Mean weighted loss of the users in a batch that have interactions.

        Source: Wang et al. 2023, Algorithm 1.
        """
        users = self.rows.non_empty(interaction[self.USER_ID])
        if not len(users):
            return self._no_loss()
        return self._diffusion_loss(self.rows.batch(users).dense(self.n_items))[0]

    def _diffusion_loss(self, x_start: Tensor) -> tuple[Tensor, Tensor]:
        """Mean weighted loss at drawn steps, and the predicted ``x_start`` (Algorithm 1)."""
        timesteps, weights = self.sampler.sample(len(x_start))
        noise = torch.randn_like(x_start)
        losses, pred_x_start = self.step_losses(x_start, timesteps, noise)
        self.sampler.update(timesteps, losses)
        return (weights * losses).mean(), pred_x_start

    def step_losses(
        self, x_start: Tensor, timesteps: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Loss of each row at its step, and what the denoiser makes of the row.

        Args:
            x_start: Rows [B, n].
            timesteps: Steps [B], int64, from 0.
            noise: Standard normal [B, n].

        Returns:
            The mean over a row of the weighted square error [B], and the predicted ``x_start``
            [B, n].

        Source: Wang et al. 2023, Eq. 10-12; for a predicted noise as in the authors' experiments.
        """
        if self.diffusion is None:
            output = self.denoiser(x_start, timesteps)
            return _mean_square(output, x_start), output
        x_t = self.diffusion.q_sample(x_start, timesteps, noise)
        output = self.denoiser(x_t, timesteps)
        if self.mean_type == "x0":
            losses = _mean_square(output, x_start)
            if self.reweight:
                losses = self.diffusion.snr_weight(timesteps, self.use_half_snr) * losses
            return losses, output
        losses = _mean_square(output, noise)
        pred_x_start = self.diffusion.predict_x_start_from_noise(x_t, timesteps, output)
        if self.reweight:
            # At the first step the likelihood of the rows, which predict the noise as well.
            likelihood = _mean_square(pred_x_start, x_start) / 2
            weighted = self.diffusion.noise_weight(timesteps) * losses
            losses = torch.where(timesteps == 0, likelihood, weighted)
        return losses, pred_x_start

    def _scores(self, rows: RowBatch | DenseRows) -> Tensor:
        """Algorithm 2: forward steps, then the reverse chain, by the shortcut where it is exact."""
        if self.sampling_noise or self.denoiser.normalize:
            return self.scores_step_by_step(rows)
        return self._chain_scores(rows, self._present_chain())

    def _present_chain(self) -> HiddenChain:
        """The chain of the weights as they are, made anew when they have changed."""
        weights = [(p.data_ptr(), p._version, p.dtype) for p in self.denoiser.parameters()]
        if self._chain is None or weights != self._weights_of_chain:
            self._chain = HiddenChain(self.denoiser, self._coefficients())
            self._weights_of_chain = weights
        return self._chain

    def _chain_scores(self, rows: RowBatch | DenseRows, chain: HiddenChain) -> Tensor:
        """Sparse rows need no dense copy where the chain starts from them and forgets them."""
        if self.sampling_steps == 0 and not chain.needs_input:
            return chain.scores(rows.product(chain.input_weight))
        x_t = self._start(rows.dense(self.n_items))
        return chain.scores(x_t @ chain.input_weight, x_t)

    def scores_step_by_step(self, rows: RowBatch | DenseRows) -> Tensor:
        """The chain as Algorithm 2 writes it; O(steps * B * n_items * h).

        Args:
            rows: Of the users.

        Returns:
            [B, n_items].
        """
        return self._reverse(self._start(rows.dense(self.n_items)))

    def _reverse(self, x_t: Tensor) -> Tensor:
        """The end of the reverse chain from x_T [B, n], step by step."""

        def denoise(x: Tensor, timesteps: Tensor) -> Tensor:
            output: Tensor = self.denoiser(x, self.kept_steps[timesteps])
            return output

        if self.respaced is None:
            for step in reversed(range(self.steps)):
                x_t = denoise(x_t, torch.full(x_t.shape[:1], step, device=x_t.device))
            return x_t
        return self.respaced.p_sample_loop(denoise, x_t, self.mean_type, self.sampling_noise)

    def _start(self, x_start: Tensor) -> Tensor:
        """x_T: the rows [B, n], after ``sampling_steps`` forward steps."""
        if self.sampling_steps == 0 or self.diffusion is None:
            return x_start
        last = torch.full((len(x_start),), self.sampling_steps - 1, device=x_start.device)
        return self.diffusion.q_sample(x_start, last)

    def _coefficients(self) -> ReverseCoefficients:
        if self.respaced is not None:
            return reverse_coefficients(self.respaced, self.mean_type, self.kept_steps)
        ones = torch.ones(self.steps, device=self.kept_steps.device)
        return ReverseCoefficients(ones, 0 * ones, self.kept_steps)

    def train(self, mode: bool = True) -> "DiffRec":
        """Switch mode as PyTorch does, and forget the chain."""
        self._chain = None  # fused updates do not count as changes of the weights
        super().train(mode)
        return self


def _mean_square(output: Tensor, target: Tensor) -> Tensor:
    """Mean over items of the square error [B]; keeps no third array for the gradient."""
    return functional.mse_loss(output, target, reduction="none").mean(dim=1)


def check_sizes(key: str, sizes: Any, least: int = 1, at_least_one: bool = True) -> None:
    """Refuse widths of layers that are none.

    Raises:
        UserError: Something else than whole numbers of at least ``least``, or too few of them.
    """
    is_right = all(type(size) is int and size >= least for size in sizes or ())
    expected = f"whole numbers of at least {least}" + (", one or more" if at_least_one else "")
    expect(is_right and (sizes or not at_least_one), key, sizes, expected)


class TDiffRec(DiffRec):
    """DiffRec on rows whose later interactions weigh more.

    Source: Wang et al. 2023, section 3.6; other weights than linear ones are not the paper's.
    """

    def _make_rows(self, config: Any, dataset: Any) -> InteractionRows:
        keys = TDiffRecSettings(config)
        least, most = keys.w_min, keys.w_max
        expect(least <= most, "w_min", least, f"0..{most} (`w_max`)")
        self.recency = Recency(keys.recency, keys.recency_decay, least, most)
        users, items = (dataset.inter_feat[f].numpy() for f in (self.USER_ID, self.ITEM_ID))
        times = times_of(dataset, config["TIME_FIELD"])
        return InteractionRows(users, items, self.n_users, times, self.recency)

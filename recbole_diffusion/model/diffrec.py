"""DiffRec and T-DiffRec: whole interaction rows, noised a little and generated again.

Wang et al. 2023, "Diffusion Recommender Model", https://doi.org/10.1145/3539618.3591663. Departures
from the paper, and from RecBole's model of this name, stand in ``docs/models/diffrec.md``.
"""

from collections.abc import Sequence
from typing import Any

import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from torch import Tensor
from torch.nn import functional

from recbole_diffusion.data.interactions import InteractionRows, RowBatch, history_rows
from recbole_diffusion.diffusion.inference import (
    HiddenChain,
    ReverseCoefficients,
    reverse_coefficients,
)
from recbole_diffusion.diffusion.process import GaussianDiffusion
from recbole_diffusion.diffusion.schedule import make_betas, respaced_betas
from recbole_diffusion.diffusion.timesteps import ImportanceSampler, UniformSampler
from recbole_diffusion.errors import UserError, refusals_of
from recbole_diffusion.model.layers import MirroredMLP


class DiffRec(GeneralRecommender):
    """A denoiser of users' interaction rows, trained at random steps of a diffusion process.

    Source: Wang et al. 2023, sections 3.1-3.3.
    """

    input_type = InputType.LISTWISE
    train_loader = "users"
    # Values of a row's first and last interaction.
    w_min = w_max = 1.0

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.steps = config["steps"]
        self.mean_type = config["mean_type"]
        self.reweight = config["reweight"]
        self.noise_scale = config["noise_scale"]
        self.sampling_steps = config["sampling_steps"]
        self.sampling_noise = config["sampling_noise"]
        self._check_settings()
        self.rows = self._make_rows(config, dataset)
        self._build_diffusion(config)
        self.denoiser = MirroredMLP(
            self.n_items,
            config["hidden_sizes"],
            config["step_embedding_size"],
            config["dropout"],
            config["norm"],
        )
        self._chain: HiddenChain | None = None

    def _check_settings(self) -> None:
        if self.mean_type not in ("x0", "eps"):
            raise UserError(f"key `mean_type`: found {self.mean_type!r}, expected x0 or eps")
        if not 0 <= self.sampling_steps <= self.steps:
            raise UserError(
                f"key `sampling_steps`: found {self.sampling_steps}, expected 0..{self.steps} "
                "(`steps`)"
            )
        if self.noise_scale == 0 and (self.reweight or self.mean_type == "eps"):
            raise UserError(
                "key `noise_scale`: found 0, which is no noise at all: expected `reweight: false` "
                "and `mean_type: x0` beside it"
            )

    def _make_rows(self, config: Any, dataset: Any) -> InteractionRows:
        users, items = (dataset.inter_feat[f].numpy() for f in (self.USER_ID, self.ITEM_ID))
        return InteractionRows(users, items, self.n_users)

    def _build_diffusion(self, config: Any) -> None:
        sampler = ImportanceSampler if config["importance_sampling"] else UniformSampler
        self.sampler = sampler(self.steps)
        self.diffusion = self.respaced = None
        kept = torch.arange(self.steps)
        if self.noise_scale > 0:
            with refusals_of(type(self).__name__, ValueError):
                betas = make_betas(
                    config["noise_schedule"],
                    self.steps,
                    noise_scale=self.noise_scale,
                    noise_min=config["noise_min"],
                    noise_max=config["noise_max"],
                    first_beta=config["first_beta"],
                )
                respaced, kept = respaced_betas(betas, config["respaced_steps"] or self.steps)
            self.diffusion, self.respaced = GaussianDiffusion(betas), GaussianDiffusion(respaced)
        self.register_buffer("kept_steps", kept, persistent=False)

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Mean weighted loss of the users in a batch that have interactions.

        Source: Wang et al. 2023, Algorithm 1; without the factor 1/2 of Eq. 11.
        """
        users = interaction[self.USER_ID]
        users = users[self.rows.lengths[users] > 0]
        if not len(users):
            return sum(p.sum() for p in self.parameters()) * 0.0
        x_start = self.rows.batch(users).dense(self.n_items)
        timesteps, weights = self.sampler.sample(len(x_start))
        losses = self.step_losses(x_start, timesteps, torch.randn_like(x_start))
        self.sampler.update(timesteps, losses)
        return (weights * losses).mean()

    def step_losses(self, x_start: Tensor, timesteps: Tensor, noise: Tensor) -> Tensor:
        """Loss of each row at its step.

        Args:
            x_start: Rows [B, n_items].
            timesteps: Steps [B], int64, from 0.
            noise: Standard normal [B, n_items].

        Returns:
            [B], the mean over items of the weighted square error.

        Source: Wang et al. 2023, Eq. 10-12; for a predicted noise as in the authors' experiments.
        """
        if self.diffusion is None:
            return _mean_square(self.denoiser(x_start, timesteps), x_start)
        x_t = self.diffusion.q_sample(x_start, timesteps, noise)
        output = self.denoiser(x_t, timesteps)
        target = x_start if self.mean_type == "x0" else noise
        losses = _mean_square(output, target)
        if not self.reweight:
            return losses
        if self.mean_type == "x0":
            return self.diffusion.snr_weight(timesteps) * losses
        # At the first step the likelihood of the rows, which predict the noise as well.
        pred_x_start = self.diffusion.predict_x_start_from_noise(x_t, timesteps, output)
        likelihood = _mean_square(pred_x_start, x_start) / 2
        weighted = self.diffusion.noise_weight(timesteps) * losses
        return torch.where(timesteps == 0, likelihood, weighted)

    def predict(self, interaction: Any) -> Tensor:
        """Scores [B] of given user-item pairs."""
        users, places = interaction[self.USER_ID].unique(return_inverse=True)
        return self._scores(self.rows.batch(users))[places, interaction[self.ITEM_ID]]

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores [B, n_items] of given users for every item."""
        return self._scores(self.rows.batch(interaction[self.USER_ID]))

    @torch.no_grad()
    def score_histories(self, histories: Sequence[Sequence[int] | Tensor]) -> Tensor:
        """Scores of users outside the data, without training on them.

        Args:
            histories: Internal item ids of each user; T-DiffRec takes their order for the time's.

        Returns:
            [len(histories), n_items]; items of the history are not masked.
        """
        device = self.kept_steps.device
        return self._scores(history_rows(histories, self.w_min, self.w_max, device))

    def _scores(self, rows: RowBatch) -> Tensor:
        """Algorithm 2: forward steps, then the reverse chain, by the shortcut where it is exact."""
        if self.sampling_noise or self.denoiser.normalize:
            return self.scores_step_by_step(rows)
        if self._chain is None:
            self._chain = HiddenChain(self.denoiser, self._coefficients())
        weight = self._chain.input_weight
        if self.sampling_steps == 0 and not self._chain.needs_input:
            return self._chain.scores(rows.product(weight))
        x_t = self._start(rows)
        return self._chain.scores(x_t @ weight, x_t)

    def scores_step_by_step(self, rows: RowBatch) -> Tensor:
        """The chain as Algorithm 2 writes it; O(steps * B * n_items * h).

        Args:
            rows: Of the users.

        Returns:
            [B, n_items].
        """
        x_t = self._start(rows)

        def denoise(x: Tensor, timesteps: Tensor) -> Tensor:
            output: Tensor = self.denoiser(x, self.kept_steps[timesteps])
            return output

        if self.respaced is None:
            for step in reversed(range(self.steps)):
                x_t = denoise(x_t, torch.full((len(x_t),), step, device=x_t.device))
            return x_t
        return self.respaced.p_sample_loop(denoise, x_t, self.mean_type, self.sampling_noise)

    def _start(self, rows: RowBatch) -> Tensor:
        """x_T: the rows, after ``sampling_steps`` forward steps."""
        x_start = rows.dense(self.n_items)
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
        """Switch mode as PyTorch does, and forget what was made from the last weights."""
        self._chain = None
        super().train(mode)
        return self


def _mean_square(output: Tensor, target: Tensor) -> Tensor:
    """Mean over items of the square error [B]; keeps no third array for the gradient."""
    return functional.mse_loss(output, target, reduction="none").mean(dim=1)


class TDiffRec(DiffRec):
    """DiffRec on rows whose later interactions weigh more.

    Source: Wang et al. 2023, section 3.4.
    """

    def _make_rows(self, config: Any, dataset: Any) -> InteractionRows:
        self.w_min, self.w_max = config["w_min"], config["w_max"]
        return timed_rows(dataset, config["TIME_FIELD"], self.w_min, self.w_max)


def timed_rows(dataset: Any, time_field: str, w_min: float, w_max: float) -> InteractionRows:
    """Training rows whose values grow with the time of the interaction.

    Raises:
        UserError: The data have no time.
    """
    if time_field not in dataset.inter_feat:
        raise UserError(
            f"data set {dataset.dataset_name}: no time field is loaded: expected key `TIME_FIELD` "
            f"(found {time_field!r}) to name a float column of `.inter`, and `load_col` to hold it"
        )
    users, items, times = (
        dataset.inter_feat[f].numpy() for f in (dataset.uid_field, dataset.iid_field, time_field)
    )
    return InteractionRows(users, items, dataset.user_num, times, w_min, w_max)

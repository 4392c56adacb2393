"""The Gaussian diffusion process: a table of coefficients and the formulas that read it.

The process has no weights and knows nothing of users or items. It takes any `x` of shape [B, *]
(interaction rows, item embeddings, latents), and the denoiser is an argument.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, Self

import torch
from torch import Tensor, nn

from recbole_diffusion.diffusion.schedule import check_betas

Denoise = Callable[[Tensor, Tensor], Tensor]
"""A denoiser: `(x_t [B, *], timesteps [B])` to its prediction [B, *]."""

MeanType = Literal["x0", "eps"]
"""What a denoiser predicts: the clean input or the noise."""


class ReverseMoments(NamedTuple):
    """Moments of p(x_{t-1} | x_t), and the prediction behind them.

    Attributes:
        mean: [B, *].
        variance: [B, 1, ..., 1], to be broadcast against `mean`.
        log_variance: [B, 1, ..., 1], finite at t = 0 too.
        pred_x_start: Predicted clean input [B, *].
    """

    mean: Tensor
    variance: Tensor
    log_variance: Tensor
    pred_x_start: Tensor


class GaussianDiffusion(nn.Module):
    r"""Forward process, its posterior, and the reverse chain of a given denoiser.

    .. math::
        q(x_t | x_{t-1}) = \mathcal{N}(\sqrt{1 - \beta_t} x_{t-1}, \beta_t I)

    Timesteps are 0-based int64 tensors [B]: t = 0 is the papers' step 1. Results have the type of
    `x`. The tables [T] are computed in float64 and kept in float32, whatever the module is cast to.

    Args:
        betas: Noise of each step [T], float64, in (0, 1].

    Raises:
        ValueError: If `betas` is not such a tensor.

    Source: Ho et al. 2020; Wang et al. 2023, Eq. 2-11.
    """

    betas: Tensor
    alphas_cumprod: Tensor
    alphas_cumprod_prev: Tensor
    sqrt_alphas_cumprod: Tensor
    sqrt_one_minus_alphas_cumprod: Tensor
    sqrt_recip_alphas_cumprod: Tensor
    sqrt_recipm1_alphas_cumprod: Tensor
    posterior_mean_coef1: Tensor
    posterior_mean_coef2: Tensor
    posterior_variance: Tensor
    posterior_log_variance_clipped: Tensor
    snr_table: Tensor
    snr_weight_table: Tensor
    noise_weight_table: Tensor

    def __init__(self, betas: Tensor) -> None:
        super().__init__()
        check_betas(betas)
        self.num_timesteps = len(betas)
        for name, table in _coefficient_tables(betas).items():
            self.register_buffer(name, table.float(), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Follow a move to another device, but not a cast: `snr_table` overflows in float16."""
        return super()._apply(lambda tensor: tensor.to(fn(tensor).device), recurse)

    def q_sample(
        self,
        x_start: Tensor,
        timesteps: Tensor,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw x_t from q(x_t | x_0).

        Args:
            x_start: Clean input [B, *].
            timesteps: Steps [B], int64, in 0..T-1.
            noise: Standard normal noise [B, *]; drawn if not given.
            generator: Source of the drawn noise.

        Returns:
            Noisy input x_t [B, *].

        Source: Wang et al. 2023, Eq. 3.
        """
        if noise is None:
            noise = _draw_noise(x_start, generator)
        _check_shape("noise", noise, x_start)
        signal = _at(self.sqrt_alphas_cumprod, timesteps, x_start) * x_start
        # In place: a new array as wide as the items costs more than the sum.
        return signal.add_(_at(self.sqrt_one_minus_alphas_cumprod, timesteps, x_start) * noise)

    def q_posterior_mean_variance(
        self, x_start: Tensor, x_t: Tensor, timesteps: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Moments of q(x_{t-1} | x_t, x_0).

        Args:
            x_start: Clean input [B, *].
            x_t: Noisy input [B, *].
            timesteps: Steps [B], int64, in 0..T-1.

        Returns:
            The mean [B, *], the variance and its clipped logarithm, both [B, 1, ..., 1]. At t = 0
            the mean is `x_start` and the variance 0; its logarithm is then that of t = 1.

        Source: Wang et al. 2023, Eq. 8.
        """
        _check_shape("x_start", x_start, x_t)
        mean = (
            _at(self.posterior_mean_coef1, timesteps, x_t) * x_start
            + _at(self.posterior_mean_coef2, timesteps, x_t) * x_t
        )
        variance = _at(self.posterior_variance, timesteps, x_t)
        log_variance = _at(self.posterior_log_variance_clipped, timesteps, x_t)
        return mean, variance, log_variance

    def predict_x_start_from_noise(self, x_t: Tensor, timesteps: Tensor, noise: Tensor) -> Tensor:
        """Solve `q_sample` for the clean input.

        Args:
            x_t: Noisy input [B, *].
            timesteps: Steps [B], int64, in 0..T-1.
            noise: The noise in `x_t`, or a prediction of it [B, *].

        Returns:
            Clean input [B, *].

        Source: Ho et al. 2020, Eq. 15.
        """
        _check_shape("noise", noise, x_t)
        return (
            _at(self.sqrt_recip_alphas_cumprod, timesteps, x_t) * x_t
            - _at(self.sqrt_recipm1_alphas_cumprod, timesteps, x_t) * noise
        )

    def p_mean_variance(
        self, denoise: Denoise, x_t: Tensor, timesteps: Tensor, mean_type: MeanType
    ) -> ReverseMoments:
        """Moments of the reverse step p(x_{t-1} | x_t).

        Args:
            denoise: The denoiser.
            x_t: Noisy input [B, *].
            timesteps: Steps [B], int64, in 0..T-1.
            mean_type: What the denoiser predicts, `x0` or `eps`.

        Returns:
            The moments, with the predicted clean input.

        Raises:
            ValueError: If `mean_type` is unknown.

        Source: Wang et al. 2023, Eq. 10.
        """
        if mean_type not in ("x0", "eps"):
            raise ValueError(f"key `mean_type`: found {mean_type!r}, expected one of x0, eps")
        pred_x_start = denoise(x_t, timesteps)
        if mean_type == "eps":
            pred_x_start = self.predict_x_start_from_noise(x_t, timesteps, pred_x_start)
        moments = self.q_posterior_mean_variance(pred_x_start, x_t, timesteps)
        return ReverseMoments(*moments, pred_x_start)

    def p_sample(
        self,
        denoise: Denoise,
        x_t: Tensor,
        timesteps: Tensor,
        mean_type: MeanType,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """One reverse step: the mean, plus noise if `noise` or `generator` is given.

        Args:
            denoise: The denoiser.
            x_t: Noisy input [B, *].
            timesteps: Steps [B], int64, in 0..T-1.
            mean_type: What the denoiser predicts, `x0` or `eps`.
            noise: Standard normal noise [B, *]; not added where t = 0.
            generator: Source of the noise if `noise` is not given.

        Returns:
            x_{t-1} [B, *].

        Source: Ho et al. 2020, Algorithm 2; without noise Wang et al. 2023, Algorithm 2.
        """
        moments = self.p_mean_variance(denoise, x_t, timesteps, mean_type)
        if noise is None and generator is None:
            return moments.mean
        if noise is None:
            noise = _draw_noise(x_t, generator)
        _check_shape("noise", noise, x_t)
        # The last step is deterministic: its true variance is 0, its log variance is clipped.
        is_noisy = _append_axes(timesteps > 0, x_t)
        return moments.mean + is_noisy * torch.exp(0.5 * moments.log_variance) * noise

    def p_sample_loop(
        self,
        denoise: Denoise,
        x_t: Tensor,
        mean_type: MeanType,
        sampling_noise: bool = False,
        generator: torch.Generator | None = None,
        num_steps: int | None = None,
    ) -> Tensor:
        """Run the reverse chain step by step, from the last step down to t = 0.

        Args:
            denoise: The denoiser.
            x_t: Start of the chain [B, *].
            mean_type: What the denoiser predicts, `x0` or `eps`.
            sampling_noise: Whether each step but the last adds noise.
            generator: Source of the sampling noise.
            num_steps: Number of steps, 1..T: the chain starts at t = num_steps - 1. All T if not
                given.

        Returns:
            Generated x_0 [B, *].

        Raises:
            ValueError: If `num_steps` is out of range.

        Source: Wang et al. 2023, Algorithm 2.
        """
        if num_steps is None:
            num_steps = self.num_timesteps
        if not 1 <= num_steps <= self.num_timesteps:
            raise ValueError(
                f"`num_steps`: found {num_steps}, expected 1..{self.num_timesteps} (`steps`)"
            )
        for step in reversed(range(num_steps)):
            timesteps = torch.full(x_t.shape[:1], step, dtype=torch.int64, device=x_t.device)
            noise = _draw_noise(x_t, generator) if sampling_noise else None
            x_t = self.p_sample(denoise, x_t, timesteps, mean_type, noise)
        return x_t

    def snr(self, timesteps: Tensor) -> Tensor:
        """Signal-to-noise ratio alphas_cumprod / (1 - alphas_cumprod).

        Args:
            timesteps: Steps [B], int64, in 0..T-1.

        Returns:
            Ratios [B], float32.

        Source: Kingma et al. 2021, Eq. 2.
        """
        return self.snr_table.gather(0, timesteps)

    def snr_weight(self, timesteps: Tensor, is_halved: bool = False) -> Tensor:
        """Weight SNR(t - 1) - SNR(t) of a step's square error; 1 at t = 0.

        Args:
            timesteps: Steps [B], int64, in 0..T-1.
            is_halved: With the factor 1/2 of Eq. 11, which Eq. 12 (t = 0) does not have; without
                it as in the authors' experiments.

        Returns:
            Weights [B], float32.

        Source: Wang et al. 2023, Eq. 11-12.
        """
        weights = self.snr_weight_table.gather(0, timesteps)
        return torch.where(timesteps > 0, weights / 2, weights) if is_halved else weights

    def noise_weight(self, timesteps: Tensor) -> Tensor:
        """Weight of a step's square error of the noise; 1 at t = 0.

        Args:
            timesteps: Steps [B], int64, in 0..T-1.

        Returns:
            Weights [B], float32.

        Source: the experiments of Wang et al. 2023; their paper weighs predictions of x_0 only.
        """
        return self.noise_weight_table.gather(0, timesteps)


def _coefficient_tables(betas: Tensor) -> dict[str, Tensor]:
    """All tables [T] of the process by buffer name, in float64."""
    alphas_cumprod = torch.cumprod(1 - betas, dim=0)
    alphas_cumprod_prev = torch.cat([alphas_cumprod.new_ones(1), alphas_cumprod[:-1]])
    variance = 1 - alphas_cumprod
    variance_prev = 1 - alphas_cumprod_prev
    snr = alphas_cumprod / variance
    posterior_variance = betas * variance_prev / variance  # Eq. 8, sigma^2(t)
    # The variance at t = 0 is 0 and has no logarithm; a chain of one step has no t = 1 to borrow.
    noise_weight = variance[1:] / (variance_prev[1:].square() * (1 - betas[1:]))
    clipped_first = posterior_variance[1:2] if len(betas) > 1 else betas
    return {
        "betas": betas,
        "alphas_cumprod": alphas_cumprod,
        "alphas_cumprod_prev": alphas_cumprod_prev,
        "sqrt_alphas_cumprod": alphas_cumprod.sqrt(),
        "sqrt_one_minus_alphas_cumprod": variance.sqrt(),
        "sqrt_recip_alphas_cumprod": (1 / alphas_cumprod).sqrt(),
        "sqrt_recipm1_alphas_cumprod": (1 / alphas_cumprod - 1).sqrt(),
        "posterior_mean_coef1": betas * alphas_cumprod_prev.sqrt() / variance,  # Eq. 8, of x_0
        "posterior_mean_coef2": variance_prev * (1 - betas).sqrt() / variance,  # Eq. 8, of x_t
        "posterior_variance": posterior_variance,
        "posterior_log_variance_clipped": torch.cat([clipped_first, posterior_variance[1:]]).log(),
        "snr_table": snr,
        "snr_weight_table": torch.cat([snr.new_ones(1), snr[:-1] - snr[1:]]),  # Eq. 11-12
        "noise_weight_table": torch.cat([snr.new_ones(1), noise_weight]),
    }


def _at(table: Tensor, timesteps: Tensor, x: Tensor) -> Tensor:
    """Entries of `table` [T] at `timesteps` [B] as [B, 1, ..., 1], in the type of `x` [B, *]."""
    if timesteps.shape != x.shape[:1] or timesteps.dtype != torch.int64:
        raise ValueError(
            f"`timesteps`: found {timesteps.dtype} of shape {list(timesteps.shape)}, "
            f"expected torch.int64 of shape {list(x.shape[:1])}"
        )
    if not x.is_floating_point():  # coefficients in an integer type would all be 0
        raise ValueError(f"`x`: found {x.dtype}, expected a floating-point type")
    # gather refuses a negative step, where indexing would wrap round.
    return _append_axes(table.gather(0, timesteps).to(x.dtype), x)


def _append_axes(values: Tensor, x: Tensor) -> Tensor:
    """`values` [B] as [B, 1, ..., 1] with the rank of `x` [B, *]."""
    return values.view(-1, *[1] * (x.dim() - 1))


def _draw_noise(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal noise like `x`; `torch.randn_like` takes no generator."""
    return torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)


def _check_shape(name: str, tensor: Tensor, x: Tensor) -> None:
    """Refuse a tensor that would be broadcast against `x` silently."""
    if tensor.shape != x.shape:
        raise ValueError(
            f"`{name}`: found shape {list(tensor.shape)}, expected {list(x.shape)} as the input"
        )

"""Noise schedules: how much noise each step of the forward process adds.

Every schedule is a pure function from the number of steps to float64 betas [T]; `make_betas`
chooses one by its name. Index 0 is the papers' step 1.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

# Nichol & Dhariwal 2021: a beta of 1 would make the reverse step singular.
_MAX_BETA = 0.999


def make_betas(
    noise_schedule: str,
    num_timesteps: int,
    *,
    noise_scale: float = 0.1,
    noise_min: float = 1e-4,
    noise_max: float = 0.02,
    beta_start: float = 0.1,
    beta_end: float = 10.0,
    first_beta: float | None = None,
) -> Tensor:
    """Make the betas of a schedule given by its name.

    Args:
        noise_schedule: `linear`, `linear-var`, `exp`, `cosine` or `sqrt`.
        num_timesteps: Number of steps T, at least 1.
        noise_scale: Factor on both noise bounds, s in Eq. 4 of DiffRec (`linear`, `linear-var`).
        noise_min: Noise of the first step before scaling (`linear`, `linear-var`).
        noise_max: Noise of the last step before scaling (`linear`, `linear-var`).
        beta_start: Noise rate at the first step (`exp`).
        beta_end: Noise rate at the last step (`exp`).
        first_beta: Replaces the first beta if given, in (0, 1]; DiffRec uses 1e-5.

    Returns:
        Betas [T], float64, each in (0, 1].

    Raises:
        ValueError: If the name is unknown or the values give no betas in (0, 1]. This includes
            `noise_scale` 0, which means that there is no process at all.
    """
    if noise_schedule not in _SCHEDULES:
        raise ValueError(
            f"key `noise_schedule`: found {noise_schedule!r}, "
            f"expected one of {', '.join(_SCHEDULES)}"
        )
    if not isinstance(num_timesteps, int) or num_timesteps < 1:
        raise ValueError(f"key `steps`: found {num_timesteps!r}, expected an integer >= 1")
    values = {
        "noise_scale": noise_scale,
        "noise_min": noise_min,
        "noise_max": noise_max,
        "beta_start": beta_start,
        "beta_end": beta_end,
    }
    schedule, keys = _SCHEDULES[noise_schedule]
    options = {key: values[key] for key in keys}
    betas = schedule(num_timesteps, **options)
    if first_beta is not None:
        if not 0 < first_beta <= 1:
            raise ValueError(f"key `first_beta`: found {first_beta}, expected 0 < first_beta <= 1")
        betas[0] = first_beta
    check_betas(betas, f"betas of {noise_schedule!r} with {options}")
    return betas


def respaced_betas(betas: Tensor, num_steps: int) -> tuple[Tensor, Tensor]:
    """The process seen at evenly spaced ones of its steps.

    Args:
        betas: Noise of each step [T], float64.
        num_steps: Number k of steps kept, 1..T: the first, and with k > 1 the last.

    Returns:
        Betas [k], float64, with the alphas_cumprod of the steps kept, and those steps [k], int64.

    Raises:
        ValueError: If `num_steps` is out of range.

    Source: Nichol and Dhariwal 2021, section 4.
    """
    if not 1 <= num_steps <= len(betas):
        raise ValueError(
            f"key `respaced_steps`: found {num_steps}, expected 1..{len(betas)} (`steps`)"
        )
    stride = (len(betas) - 1) / max(num_steps - 1, 1)
    kept = torch.tensor([round(i * stride) for i in range(num_steps)])
    if num_steps == len(betas):
        return betas, kept  # as they are: a product of ratios would round
    after = torch.cumprod(1 - betas, dim=0)[kept]
    before = torch.cat([betas.new_ones(1), after[:-1]])
    # No bound on these betas: it would change the products. Where no signal is left, none is lost.
    return torch.where(before > 0, 1 - after / before, 1.0), kept


def check_betas(betas: Tensor, name: str = "betas") -> None:
    """Refuse a tensor that is no schedule.

    Args:
        betas: The tensor to check.
        name: What the message calls it.

    Raises:
        ValueError: If `betas` is not a non-empty float64 vector with all values in (0, 1].
    """
    if betas.dtype != torch.float64 or betas.dim() != 1 or betas.numel() == 0:
        raise ValueError(
            f"{name}: found {betas.dtype} of shape {list(betas.shape)}, "
            "expected torch.float64 of shape [T]"
        )
    if not ((betas > 0) & (betas <= 1)).all():  # written so that NaN is refused too
        raise ValueError(
            f"{name}: found values from {betas.min().item():.6g} to {betas.max().item():.6g}, "
            "expected all in (0, 1]"
        )


def linear_betas(
    num_timesteps: int, noise_scale: float, noise_min: float, noise_max: float
) -> Tensor:
    """Betas that grow linearly from noise_scale * noise_min to noise_scale * noise_max.

    Args:
        num_timesteps: Number of steps T.
        noise_scale: Factor on both bounds, > 0.
        noise_min: First beta before scaling.
        noise_max: Last beta before scaling.

    Returns:
        Betas [T], float64.

    Raises:
        ValueError: If the scaled bounds are not ordered within [0, 1], or the scale is 0.

    Source: Ho et al. 2020, Section 4.
    """
    low, high = _noise_bounds(noise_scale, noise_min, noise_max)
    return torch.linspace(low, high, num_timesteps, dtype=torch.float64)


def linear_variance_betas(
    num_timesteps: int, noise_scale: float, noise_min: float, noise_max: float
) -> Tensor:
    """Betas for which the variance 1 - alphas_cumprod, not beta, grows linearly.

    Args:
        num_timesteps: Number of steps T.
        noise_scale: Factor on both bounds, s, > 0.
        noise_min: Variance after the first step before scaling, alpha_min.
        noise_max: Variance after the last step before scaling, alpha_max.

    Returns:
        Betas [T], float64, at most 0.999.

    Raises:
        ValueError: If the scaled bounds are not ordered within [0, 1], or the scale is 0.

    Source: Wang et al. 2023, Eq. 4.
    """
    low, high = _noise_bounds(noise_scale, noise_min, noise_max)
    variance = torch.linspace(low, high, num_timesteps, dtype=torch.float64)
    clean = torch.zeros(1, dtype=torch.float64)
    return _betas_from_alphas_cumprod(1 - torch.cat([clean, variance]))


def exponential_betas(num_timesteps: int, beta_start: float, beta_end: float) -> Tensor:
    """Betas of the variance-preserving process whose noise rate grows linearly.

    Args:
        num_timesteps: Number of steps T.
        beta_start: Noise rate at the first step, >= 0.
        beta_end: Noise rate at the last step, >= `beta_start`.

    Returns:
        Betas [T], float64.

    Raises:
        ValueError: If the rates are negative or in the wrong order.

    Source: the schedule of InfoDCL's published experiments; Song et al. 2021, Appendix C.
    """
    if not 0 <= beta_start <= beta_end:
        raise ValueError(
            f"keys `beta_start`, `beta_end`: found {beta_start}, {beta_end}, "
            "expected 0 <= beta_start <= beta_end"
        )
    # The end point 2T + 1 (not 2T - 1) is part of the published schedule.
    position = torch.linspace(1, 2 * num_timesteps + 1, num_timesteps, dtype=torch.float64)
    slope = 0.5 * (beta_end - beta_start) / num_timesteps**2
    return -torch.expm1(-beta_start / num_timesteps - position * slope)


def cosine_betas(num_timesteps: int) -> Tensor:
    """Betas for which alphas_cumprod follows a squared cosine.

    Args:
        num_timesteps: Number of steps T.

    Returns:
        Betas [T], float64, at most 0.999.

    Source: Nichol & Dhariwal 2021, Eq. 17, with s = 0.008.
    """
    time = torch.linspace(0, 1, num_timesteps + 1, dtype=torch.float64)
    return _betas_from_alphas_cumprod(torch.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2)


def sqrt_betas(num_timesteps: int) -> Tensor:
    """Betas for which alphas_cumprod falls with the square root of time.

    Args:
        num_timesteps: Number of steps T.

    Returns:
        Betas [T], float64, at most 0.999.

    Source: Li et al. 2022 (Diffusion-LM), Appendix A, with s = 0.0001.
    """
    time = torch.linspace(0, 1, num_timesteps + 1, dtype=torch.float64)
    return _betas_from_alphas_cumprod(1 - torch.sqrt(time + 1e-4))


# Name -> the function and those keys of `make_betas` that it takes.
_SCHEDULES: dict[str, tuple[Callable[..., Tensor], tuple[str, ...]]] = {
    "linear": (linear_betas, ("noise_scale", "noise_min", "noise_max")),
    "linear-var": (linear_variance_betas, ("noise_scale", "noise_min", "noise_max")),
    "exp": (exponential_betas, ("beta_start", "beta_end")),
    "cosine": (cosine_betas, ()),
    "sqrt": (sqrt_betas, ()),
}


def _betas_from_alphas_cumprod(alphas_cumprod: Tensor) -> Tensor:
    """Betas [T] from the cumulative products [T + 1] after 0, 1, ..., T steps."""
    return (1 - alphas_cumprod[1:] / alphas_cumprod[:-1]).clamp(max=_MAX_BETA)


def _noise_bounds(noise_scale: float, noise_min: float, noise_max: float) -> tuple[float, float]:
    """Scaled noise of the first and the last step."""
    if noise_scale == 0:
        raise ValueError(
            "key `noise_scale`: found 0, expected > 0: "
            "0 means no noise, for which there are no betas and no process"
        )
    low, high = noise_scale * noise_min, noise_scale * noise_max
    if not 0 <= low <= high <= 1:
        raise ValueError(
            f"keys `noise_scale`, `noise_min`, `noise_max`: found {noise_scale}, {noise_min}, "
            f"{noise_max}, expected 0 <= noise_scale * noise_min <= noise_scale * noise_max <= 1"
        )
    return low, high

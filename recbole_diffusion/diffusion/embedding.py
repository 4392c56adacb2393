"""Sinusoidal embedding of diffusion steps."""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional


def sinusoidal_embedding(
    timesteps: Tensor,
    size: int,
    layout: Literal["halves", "interleaved"] = "halves",
    max_period: float = 10000,
) -> Tensor:
    """Embed steps as cosines and sines of geometrically spaced frequencies.

    The steps are taken as they are: pass `timesteps + 1` for a paper that embeds steps from 1.

    Args:
        timesteps: Steps [B].
        size: Size of the embedding, at least 2.
        layout: `halves`: all cosines, then all sines, then a 0 at odd size. `interleaved`: sines
            at even, cosines at odd positions.
        max_period: Controls the lowest frequency.

    Returns:
        Embedding [B, size], float32.

    Raises:
        ValueError: If the layout is unknown, the size below 2 or `timesteps` not [B].

    Source: improved-diffusion and DiffRec (`halves`); LD4MRec, Eq. 17 (`interleaved`).
    """
    if timesteps.dim() != 1:
        raise ValueError(f"`timesteps`: found shape {list(timesteps.shape)}, expected [B]")
    if size < 2:
        raise ValueError(f"key `step_embedding_size`: found {size}, expected >= 2")
    if layout == "halves":
        angles = _angles(timesteps, 2 * (size // 2), max_period)
        embedding = functional.pad(torch.cat([angles.cos(), angles.sin()], dim=-1), (0, size % 2))
    elif layout == "interleaved":
        angles = _angles(timesteps, size, max_period)
        # [B, ceil(size / 2), 2] -> [B, size]
        embedding = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :size]
    else:
        raise ValueError(f"`layout`: found {layout!r}, expected one of halves, interleaved")
    return embedding.float()


def _angles(timesteps: Tensor, size: int, max_period: float) -> Tensor:
    """Angles t / max_period^(2j / size), [B, ceil(size / 2)], float64."""
    exponents = torch.arange(0, size, 2, dtype=torch.float64, device=timesteps.device) / size
    return timesteps.double()[:, None] * torch.exp(-math.log(max_period) * exponents)

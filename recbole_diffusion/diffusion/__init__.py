"""Gaussian diffusion for any batch of vectors: schedules, process, step samplers, embeddings."""

from recbole_diffusion.diffusion.embedding import sinusoidal_embedding
from recbole_diffusion.diffusion.process import (
    Denoise,
    GaussianDiffusion,
    MeanType,
    ReverseMoments,
)
from recbole_diffusion.diffusion.schedule import make_betas
from recbole_diffusion.diffusion.timesteps import (
    ImportanceSampler,
    TimestepSampler,
    UniformSampler,
)

__all__ = [
    "Denoise",
    "GaussianDiffusion",
    "ImportanceSampler",
    "MeanType",
    "ReverseMoments",
    "TimestepSampler",
    "UniformSampler",
    "make_betas",
    "sinusoidal_embedding",
]

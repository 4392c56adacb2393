"""Diffusion recommenders as first-class RecBole models."""

from recbole_diffusion.compat import apply_patches

apply_patches()

__version__ = "0.1.0"

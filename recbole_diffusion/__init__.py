"""Diffusion recommenders as first-class RecBole models."""

from recbole_diffusion.compat import apply_patches

apply_patches()  # before anything imports the parts of RecBole that it mends

from recbole_diffusion.quick_start import (  # noqa: E402
    evaluate_run,
    load_run,
    resume_run,
    run_recbole_diffusion,
)
from recbole_diffusion.registry import register  # noqa: E402

__version__ = "0.1.0"
__all__ = ["evaluate_run", "load_run", "register", "resume_run", "run_recbole_diffusion"]

"""Patches that let RecBole 1.2.x run, and evaluate rightly, on today's packages.

Each patch is one function, applied once on import and only where its fault exists. It changes names
inside ``recbole.*`` only: numpy, scipy, pandas, torch and yaml stay as they are for other code.
"""

from recbole_diffusion.compat import data, evaluation, habits, models, stack
from recbole_diffusion.compat.patch import Patch

PATCHES = (
    *stack.PATCHES,
    *data.PATCHES,
    *evaluation.PATCHES,
    *models.PATCHES,
    *habits.PATCHES,
)


def apply_patches() -> None:
    """Mend the host where it needs it; called once, when the package is imported."""
    for patch in PATCHES:
        if patch.is_needed():
            patch.apply()


__all__ = ["PATCHES", "Patch", "apply_patches"]

"""All patches of RecBole 1.2.x, so that it runs, and evaluates rightly, on today's packages.

Each patch is one function, applied once and only where its fault exists. It changes names inside
``recbole.*`` only: numpy, scipy, pandas, torch and yaml stay as they are for other code.
"""

from recbole_diffusion.data import repairs as data
from recbole_diffusion.evaluation import repairs as evaluation
from recbole_diffusion.host import models, scripts, stack
from recbole_diffusion.training import repairs as training

PATCHES = (
    *stack.PATCHES,
    *data.PATCHES,
    *evaluation.PATCHES,
    *training.PATCHES,
    *models.PATCHES,
    *scripts.PATCHES,
)


def apply_patches() -> None:
    """Mend the host where it needs it; called once, when RecBole is imported."""
    for patch in PATCHES:
        if patch.is_needed():
            patch.apply()

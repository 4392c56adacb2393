"""All patches of RecBole 1.2.x, so that it can be imported and run on today's packages.

Each patch is one function, applied once and only where its fault exists. It changes names inside
``recbole.*`` only, and no result: numpy, scipy, pandas, torch and yaml stay as they are for other
code. Faults that change results are mended in classes of this package.
"""

from recbole_diffusion.host import pandas3, scripts, stack

PATCHES = (*stack.PATCHES, *pandas3.PATCHES, *scripts.PATCHES)


def apply_patches() -> None:
    """Mend the host where it needs it; called once, when RecBole is imported."""
    with stack.sklearn_on_first_use():
        for patch in PATCHES:
            if patch.is_needed():
                patch.apply()

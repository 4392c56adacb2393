"""Diffusion recommenders as first-class RecBole models."""

import os
from typing import Any

# Both before PyTorch is imported, which reads them then; the user's own values stand.
# Huge pages for large tensors on Linux, where faults of small ones are a tenth of an epoch.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
# Threads that wait sleep: spinning, they take the cores that others need (benchmarks/threads.py).
# GNU's, which PyTorch's wheels carry, spin a tenth of a millisecond before: most waits are shorter.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

from recbole_diffusion.compat import apply_patches

apply_patches()  # before anything imports the parts of RecBole that it mends

# Before the functions of these names, which then stay.
import recbole_diffusion.analyze  # noqa: E402
import recbole_diffusion.compare  # noqa: E402
import recbole_diffusion.tune  # noqa: E402, F401
from recbole_diffusion.quick_start import (  # noqa: E402
    evaluate_run,
    load_run,
    resume_run,
    run_recbole_diffusion,
)
from recbole_diffusion.registry import register  # noqa: E402

__version__ = "0.1.0"
__all__ = [
    "analyze",
    "compare",
    "evaluate_run",
    "load_run",
    "register",
    "resume_run",
    "run_recbole_diffusion",
    "tune",
]


def analyze(*args: Any, **kwargs: Any) -> Any:
    """Draw the figures of a run; see ``recbole_diffusion.analyze.run.analyze``."""
    from recbole_diffusion.analyze.run import analyze as run

    return run(*args, **kwargs)


def compare(*args: Any, **kwargs: Any) -> dict[str, Any]:
    """Compare models; see ``recbole_diffusion.compare.run.compare``, which this imports."""
    from recbole_diffusion.compare.run import compare as run

    return run(*args, **kwargs)


def tune(*args: Any, **kwargs: Any) -> Any:
    """Search a model's settings; see ``recbole_diffusion.tune.run.tune``, which this imports."""
    from recbole_diffusion.tune.run import tune as run

    return run(*args, **kwargs)

"""Diffusion recommenders as first-class RecBole models."""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from recbole_diffusion.base.version import __version__
from recbole_diffusion.host.on_import import after_import

# Both before PyTorch is imported, which reads them then; the user's own values stand.
# Huge pages for large tensors on Linux, where faults of small ones are a tenth of an epoch.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
# Threads that wait sleep: spinning, they take the cores that others need (benchmarks/threads.py).
# GNU's, which PyTorch's wheels carry, spin a tenth of a millisecond before: most waits are shorter.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

# Public names, each with its module, which is imported when the name is used.
_PLACES = {
    "Callback": "training.callbacks",
    "StopRun": "training.callbacks",
    "analyze": "studies.analyze.run",
    "compare": "studies.compare.run",
    "evaluate_run": "runs.quick_start",
    "load": "serving.recommender",
    "load_run": "runs.quick_start",
    "refresh_run": "runs.refresh",
    "register": "settings.registry",
    "resume_run": "runs.quick_start",
    "run_recbole_diffusion": "runs.quick_start",
    "tune": "studies.tune.run",
}
__all__ = [
    "Callback",
    "StopRun",
    "__version__",
    "analyze",
    "compare",
    "evaluate_run",
    "load",
    "load_run",
    "refresh_run",
    "register",
    "resume_run",
    "run_recbole_diffusion",
    "tune",
]


def _mend_host() -> None:
    import_module("recbole_diffusion.host.repairs").apply_patches()


after_import("recbole", _mend_host)

if TYPE_CHECKING:
    from recbole_diffusion.runs.quick_start import (
        evaluate_run,
        load_run,
        resume_run,
        run_recbole_diffusion,
    )
    from recbole_diffusion.runs.refresh import refresh_run
    from recbole_diffusion.serving.recommender import load
    from recbole_diffusion.settings.registry import register
    from recbole_diffusion.studies.analyze.run import analyze
    from recbole_diffusion.studies.compare.run import compare
    from recbole_diffusion.studies.tune.run import tune
    from recbole_diffusion.training.callbacks import Callback, StopRun


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)

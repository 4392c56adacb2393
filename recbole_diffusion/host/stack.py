"""Patches that let RecBole be imported and run on today's numpy, scipy and PyTorch."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from recbole_diffusion.host.patch import (
    Overlay,
    Patch,
    host_modules_with,
    in_every_version,
    is_1_2_0,
    is_1_2_1_on,
)

# The host refers to these names of numpy, all of which numpy has removed or given another meaning.
REMOVED_NUMPY_NAMES = {
    "bool": np.bool_,
    "int": np.int64,
    "float": np.float64,
    "complex": np.complex128,
    "object": np.object_,
    "str": np.str_,
    "long": np.int64,
    "unicode": np.str_,
}

# The one module of the host that turns on PyTorch's search for anomalies, for the whole process.
ANOMALY_SETTER = "recbole.model.sequential_recommender.sine"
_had_anomaly_mode = torch.is_anomaly_enabled() and ANOMALY_SETTER not in sys.modules


class _OnFirstUse:
    """Stands for a name of an optional package, which is imported when the name is used."""

    def __init__(self, package: str, name: str) -> None:
        self._package, self._name = package, name

    def _load(self) -> Any:
        try:
            return getattr(importlib.import_module(self._package), self._name)
        except ImportError as error:
            raise ImportError(
                f"this part of RecBole needs the package `{self._package}`: "
                f"pip install {self._package}"
            ) from error

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):  # a look at the name, not a use
            raise AttributeError(attribute)
        return getattr(self._load(), attribute)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._load()(*args, **kwargs)


@contextmanager
def _placeholder(package: str, **names: Any) -> Iterator[None]:
    """While the host's module is imported, ``from package import name`` gives one of these."""
    if package in sys.modules:
        yield
        return
    stand_in = ModuleType(package)
    vars(stand_in).update(names)
    sys.modules[package] = stand_in
    try:
        yield
    finally:
        del sys.modules[package]


def _deferred(package: str, *names: str) -> AbstractContextManager[None]:
    return _placeholder(package, **{name: _OnFirstUse(package, name) for name in names})


def _defer_ray() -> None:
    with _deferred("ray", "tune"):
        importlib.import_module("recbole.quick_start")


def _defer_kmeans() -> None:
    with _deferred("kmeans_pytorch", "kmeans"):
        importlib.import_module("recbole.model.general_recommender")


@contextmanager
def sklearn_on_first_use() -> Iterator[None]:
    """What the host imports within takes scikit-learn's names as they are used.

    All of its runs would import the package, a fifth of their start, and a few models use it.
    """
    with (
        _deferred("sklearn.metrics", "auc", "mean_absolute_error", "mean_squared_error"),
        _deferred("sklearn.linear_model", "ElasticNet"),
        _deferred("sklearn.utils.extmath", "randomized_svd"),
        # Its base: it stands in a filter of warnings alone.
        _placeholder("sklearn.exceptions", ConvergenceWarning=UserWarning),
    ):
        yield


def _keep_numpy_names() -> None:
    from recbole.config import Config

    Config.compatibility_settings = lambda self: None
    for module in host_modules_with(rf"np\.({'|'.join(REMOVED_NUMPY_NAMES)})\b"):
        if hasattr(module, "np"):  # the one without is Config's, in the method above
            module.np = Overlay(module.np, **REMOVED_NUMPY_NAMES)


class _UpdatableDokMatrix(sp.dok_matrix):
    """A dok_matrix with the bulk update that scipy 1.13 removed."""

    def _update(self, entries: dict[tuple[int, int], float]) -> None:
        self._dict.update(entries)


def _restore_dok_update() -> None:
    for module in host_modules_with(r"sp\.dok_matrix\("):
        module.sp = Overlay(module.sp, dok_matrix=_UpdatableDokMatrix)


def _use_current_sparse_tensors() -> None:
    sparse = Overlay(
        torch.sparse,
        FloatTensor=partial(torch.sparse_coo_tensor, dtype=torch.float32, check_invariants=False),
    )
    for module in host_modules_with(r"torch\.sparse\.FloatTensor\("):
        module.torch = Overlay(module.torch, sparse=sparse)


def _use_current_grad_scaler() -> None:
    from recbole.trainer import trainer

    trainer.amp = Overlay(trainer.amp, GradScaler=partial(torch.amp.GradScaler, "cuda"))


def _use_current_autocast() -> None:
    from recbole.trainer import trainer

    trainer.amp = Overlay(trainer.amp, autocast=partial(torch.amp.autocast, "cuda"))


def _find_neighbours_by_method() -> None:
    from recbole.model.general_recommender import itemknn, nncf

    class ComputeSimilarity:
        """The host's, called as RecBole 1.2.0 called it."""

        def __init__(self, matrix: Any, topk: int) -> None:
            self._arguments = {"dataMatrix": matrix, "topk": topk}

        def compute_similarity(self, method: str) -> Any:
            return itemknn.ComputeSimilarity(**self._arguments, method=method).compute_similarity()

    nncf.ComputeSimilarity = ComputeSimilarity


def _leave_anomaly_mode() -> None:
    importlib.import_module(ANOMALY_SETTER)
    torch.autograd.set_detect_anomaly(_had_anomaly_mode)


PATCHES = (
    Patch(
        "defer_ray",
        "recbole.quick_start imports ray.tune, which nothing but its tuner uses",
        in_every_version,
        _defer_ray,
    ),
    Patch(
        "defer_kmeans",
        "RecBole 1.2.0 imports kmeans_pytorch with every general recommender; LDiffRec uses it",
        is_1_2_0,
        _defer_kmeans,
    ),
    Patch(
        "keep_numpy_names",
        "Config puts removed names back into numpy for everybody, and fails on numpy 2",
        in_every_version,
        _keep_numpy_names,
    ),
    Patch(
        "restore_dok_update",
        "graph models fill a dok_matrix by a method that scipy 1.13 removed",
        lambda: not hasattr(sp.dok_matrix, "_update"),
        _restore_dok_update,
    ),
    Patch(
        "use_current_sparse_tensors",
        "graph models build torch.sparse.FloatTensor, which is deprecated and warns",
        in_every_version,
        _use_current_sparse_tensors,
    ),
    Patch(
        "use_current_grad_scaler",
        "torch.cuda.amp.GradScaler is deprecated and warns in every epoch",
        in_every_version,
        _use_current_grad_scaler,
    ),
    Patch(
        "use_current_autocast",
        "NCL's trainer calls the deprecated torch.cuda.amp.autocast and warns",
        in_every_version,
        _use_current_autocast,
    ),
    Patch(
        "find_neighbours_by_method",
        "NNCF of RecBole 1.2.1 calls ComputeSimilarity as it was in 1.2.0: no neighbours by knn",
        is_1_2_1_on,
        _find_neighbours_by_method,
    ),
    Patch(
        "leave_anomaly_mode",
        "importing the model SINE, as every run does, turns on PyTorch's search for anomalies: "
        "each backward pass is checked for NaN and keeps its traces",
        in_every_version,
        _leave_anomaly_mode,
    ),
)

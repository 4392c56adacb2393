"""iALS: its objective beside that of an exact solution in float64 NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.linalg import solve

from recbole_diffusion import load_run, run_recbole_diffusion
from recbole_diffusion.base import arguments
from recbole_diffusion.base.errors import UserError

pytest.importorskip("implicit")
CONFIDENCE, PENALTY, SIZE = 7.0, 0.5, 6


def objective(rows: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """Hu et al. 2008, Eq. 3."""
    weights = np.where(rows > 0, CONFIDENCE, 1.0)
    errors = (weights * (rows - x @ y.T) ** 2).sum()
    return float(errors + PENALTY * ((x**2).sum() + (y**2).sum()))


def half_step(rows: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The best factors of each row for factors y of the columns (Eq. 4)."""
    weights = np.where(rows > 0, CONFIDENCE, 1.0)
    penalty = PENALTY * np.eye(y.shape[1])
    return np.array(
        [
            solve((y.T * w) @ y + penalty, (y.T * w) @ row)
            for w, row in zip(weights, rows, strict=True)
        ]
    )


def run(planted: dict[str, Any], **keys: Any) -> tuple[Any, Any]:
    own = {"confidence": CONFIDENCE, "reg_weight": PENALTY, "embedding_size": SIZE}
    settings = {**planted, "state": "WARNING", **own, "iterations": 40, **keys}
    return load_run(run_recbole_diffusion("IALS", "planted", (), settings)["run_folder"])


def test_it_minimises_the_weighted_error_of_all_pairs(
    planted: dict[str, Any], rng: np.random.Generator
) -> None:
    model, data = run(planted)
    rows = np.zeros((data.user_num, data.item_num))
    rows[data.inter_feat["user_id"].numpy(), data.inter_feat["item_id"].numpy()] = 1
    x, y = (factors.double().numpy() for factors in model.scoring_embeddings())
    found = objective(rows, x, y)
    own = rng.normal(size=(data.item_num, SIZE)) * 0.1
    for _ in range(40):
        users = half_step(rows, own)
        own = half_step(rows.T, users)
    assert found <= 1.01 * objective(rows, users, own)
    # No half step makes it much better: it has converged.
    assert found - objective(rows, half_step(rows, y), y) < 0.01 * found
    other, _ = run(planted, confidence=1.0)
    x, y = (factors.double().numpy() for factors in other.scoring_embeddings())
    assert objective(rows, x, y) > 1.1 * found


def test_without_the_package_it_says_what_to_install(
    planted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: Callable[[str], Any] = arguments.import_module

    def lacking(name: str) -> Any:
        if name.startswith("implicit"):
            raise ImportError(f"No module named {name!r}")
        return found(name)

    monkeypatch.setattr(arguments, "import_module", lacking)
    with pytest.raises(UserError, match=r"recbole_diffusion\[ials\]"):
        run(planted)

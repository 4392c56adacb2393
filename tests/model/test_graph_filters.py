"""GF-CF, BSPM and Turbo-CF against dense NumPy in float64."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from recbole_diffusion import evaluate_run, load_run, run_recbole_diffusion
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.models import item_smoothing
from recbole_diffusion.models.graph_filters import turbocf

SETTINGS = {"show_progress": False, "state": "WARNING", "svd_rank": 5}


def run(planted: dict[str, Any], model: str, **keys: Any) -> tuple[Any, Any, dict[str, Any]]:
    """Model and train data of a run, and its result."""
    known = {k: v for k, v in SETTINGS.items() if k != "svd_rank" or model != "TurboCF"}
    result = run_recbole_diffusion(model, "planted", (), {**planted, **known, **keys})
    return *load_run(result["run_folder"]), result


def dense(data: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """R, R~ of the symmetric normalisation, and roots of the degrees of users and items."""
    rows = np.zeros((data.user_num, data.item_num))
    inter = data.inter_feat
    rows[inter["user_id"].numpy(), inter["item_id"].numpy()] = 1
    roots = [np.sqrt(np.maximum(rows.sum(axis=axis), 1)) for axis in (1, 0)]
    return rows, rows / roots[0][:, None] / roots[1], *roots


def ideal(data: Any, rank: int) -> np.ndarray:
    """D_I^-1/2 V V' D_I^1/2 [n_items, n_items]."""
    _, normal, _, roots = dense(data)
    vectors = np.linalg.svd(normal)[2][:rank].T
    return (vectors @ vectors.T) * roots / roots[:, None]


def scores(model: Any, data: Any) -> np.ndarray:
    users = torch.arange(data.user_num)
    return model.full_sort_predict({model.USER_ID: users}).numpy()[1:, 1:]


@pytest.mark.parametrize("weight", [0.0, 0.3, 2.0])
def test_gfcf_adds_the_ideal_filter_to_the_linear_one(
    planted: dict[str, Any], weight: float
) -> None:
    model, data, _ = run(planted, "GFCF", ideal_weight=weight)
    rows, normal, *_ = dense(data)
    expected = rows @ (normal.T @ normal + weight * ideal(data, 5))
    np.testing.assert_allclose(scores(model, data), expected[1:, 1:], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("merge", ["early", "late"])
def test_bspm_blurs_and_sharpens(planted: dict[str, Any], merge: str) -> None:
    times = {"blur_time": 0.6, "blur_steps": 12, "blur_solver": "runge-kutta",
             "sharpen_time": 0.9, "sharpen_steps": 12}  # fmt: skip
    model, data, _ = run(planted, "BSPM", merge=merge, ideal_weight=0.4, **times)
    rows, normal, *_ = dense(data)
    graph = normal.T @ normal
    blur, sharpen = expm(0.6 * (graph - np.eye(len(graph)))), expm(-0.9 * graph)
    low = 0.4 * ideal(data, 5)
    expected = rows @ (blur + low) @ sharpen if merge == "early" else rows @ (blur @ sharpen + low)
    np.testing.assert_allclose(scores(model, data), expected[1:, 1:], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_turbocf_is_a_polynomial_of_a_sharpened_graph(planted: dict[str, Any], degree: int) -> None:
    keys = {"polynomial": degree, "power": 0.7, "normalization": 0.3}
    model, data, _ = run(planted, "TurboCF", **keys)
    rows, _, of_users, of_items = dense(data)
    normal = rows / (of_users**2)[:, None] ** 0.3 / (of_items**2) ** 0.7
    p = (normal.T @ normal) ** 0.7
    filters = {
        1: p,
        2: 2 * p - p @ p,
        3: p + 0.01 * (-(p @ p @ p) + 10 * p @ p - 29 * p),
    }
    np.testing.assert_allclose(
        scores(model, data), (rows @ filters[degree])[1:, 1:], rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("model", ["GFCF", "BSPM"])
def test_blocks_of_users_change_nothing(
    planted: dict[str, Any], model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, data, _ = run(planted, model)
    whole = scores(found, data)
    monkeypatch.setattr(item_smoothing, "BLOCK_BYTES", 4 * data.user_num * 3)
    np.testing.assert_allclose(scores(found, data), whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("model", ["GFCF", "BSPM", "TurboCF"])
def test_a_saved_run_scores_the_same(planted: dict[str, Any], model: str) -> None:
    *_, result = run(planted, model)
    assert evaluate_run(result["run_folder"])["test"] == result["test"]


def test_too_many_items_for_the_memory_are_refused(
    planted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(needed: float, purpose: str) -> None:
        raise UserError(f"{purpose}: {needed}")

    monkeypatch.setattr(turbocf, "expect_memory", refused)
    with pytest.raises(UserError, match="Turbo-CF of"):
        run(planted, "TurboCF")
    assert Path(planted["output_dir"]).is_dir()

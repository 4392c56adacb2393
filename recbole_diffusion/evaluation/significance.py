"""Paired tests over users between candidates and the best baseline, with Holm's correction."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

# Differences that are equal but for rounding, as of means over seeds, get one rank.
DECIMALS = 10


def compare_to_best_baseline(
    per_user: pd.DataFrame,
    baselines: Sequence[str],
    candidates: Sequence[str],
    metrics: Sequence[str],
    test: str,
    alpha: float,
) -> list[dict[str, Any]]:
    """Test each candidate on each metric against the baseline with the highest mean.

    Args:
        per_user: Columns model, seed, user_id and the metrics, all models on the same users.
        baselines: Models to choose the best of, metric by metric.
        candidates: Models to test.
        metrics: Columns to test; larger is better.
        test: "wilcoxon" or "t".
        alpha: Level after the correction over all tests made here.

    Returns:
        One entry for each test, by metric, then candidate; none without a baseline.
    """
    found: list[dict[str, Any]] = []
    candidates = [model for model in candidates if model not in baselines]
    for metric in metrics if baselines else ():
        # Mean over seeds: [n_users, n_models].
        means = per_user.groupby(["user_id", "model"])[metric].mean().unstack("model")
        overall = means.mean()
        best = max(baselines, key=lambda model: overall[model])
        for model in candidates:
            pair = means[model].to_numpy(), means[best].to_numpy()
            statistic, p = TESTS[test](*pair)
            found.append(
                {
                    "metric": metric,
                    "candidate": model,
                    "baseline": best,
                    "users": len(means),
                    "mean_difference": float(overall[model] - overall[best]),
                    "statistic": statistic,
                    "p": p,
                }
            )
    for entry, p in zip(found, holm([entry["p"] for entry in found]), strict=True):
        entry["p_holm"] = p
        entry["is_significant"] = bool(p < alpha)
    return found


def wilcoxon(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Statistic and two-sided p of the signed-rank test; equal users count as Pratt has it.

    Most users get the same from two models. Pratt ranks their zero differences with the others and
    then drops them, so that many ties make a test no bolder.
    """
    differences = np.round(one - other, DECIMALS)
    if not differences.any():
        return 0.0, 1.0
    result = stats.wilcoxon(differences, zero_method="pratt")
    return float(result.statistic), float(result.pvalue)


def paired_t(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Statistic and two-sided p of the paired t-test."""
    if np.array_equal(one, other):
        return 0.0, 1.0
    result = stats.ttest_rel(one, other)
    return float(result.statistic), float(result.pvalue)


TESTS: dict[str, Callable[[np.ndarray, np.ndarray], tuple[float, float]]] = {
    "wilcoxon": wilcoxon,
    "t": paired_t,
}


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: p-values that hold at a level over all tests together.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    factors = len(p) - np.arange(len(p))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1.0)
    return [float(value) for value in adjusted]

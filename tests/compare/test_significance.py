"""Paired tests and Holm's correction, against scipy and numbers worked out by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recbole_diffusion.evaluation.significance import compare_to_best_baseline, holm


@pytest.fixture
def per_user(rng: np.random.Generator) -> pd.DataFrame:
    """Three models, two seeds, forty users, with many equal values."""
    shifts = {"ours": 0.15, "weak": -0.2, "strong": 0.0}
    base = rng.integers(0, 4, 40) / 4
    parts = []
    for model, shift in shifts.items():
        for seed in (1, 2):
            moved = np.clip(base + shift * rng.integers(0, 2, 40), 0, 1)
            users = [f"u{number}" for number in range(40)]
            parts.append(pd.DataFrame({"user_id": users, "recall@20": moved, "ndcg@20": moved**2}))
            parts[-1] = parts[-1].assign(model=model, seed=seed).sample(frac=1, random_state=seed)
    return pd.concat(parts, ignore_index=True)


def user_means(frame: pd.DataFrame, model: str, metric: str) -> np.ndarray:
    own = frame[frame["model"] == model]
    users = sorted(set(own["user_id"]))
    return np.array([own[own["user_id"] == user][metric].mean() for user in users])


@pytest.mark.parametrize("test", ["wilcoxon", "t"])
def test_equals_scipy(per_user: pd.DataFrame, test: str) -> None:
    metrics = ["recall@20", "ndcg@20"]
    found = compare_to_best_baseline(
        per_user, ["weak", "strong"], ["ours", "weak", "strong"], metrics, test, 0.05
    )
    assert [(entry["candidate"], entry["baseline"]) for entry in found] == [("ours", "strong")] * 2
    for entry, metric in zip(found, metrics, strict=True):
        pair = (user_means(per_user, model, metric) for model in ("ours", "strong"))
        one, other = pair
        expected = (
            stats.wilcoxon(np.round(one - other, 9), zero_method="pratt", alternative="two-sided")
            if test == "wilcoxon"
            else stats.ttest_rel(one, other)
        )
        assert entry["p"] == pytest.approx(expected.pvalue, rel=1e-12)
        assert entry["statistic"] == pytest.approx(expected.statistic, rel=1e-12)
        assert entry["mean_difference"] == pytest.approx((one - other).mean())
        assert entry["users"] == 40
    smaller, larger = sorted(entry["p"] for entry in found)
    expected_holm = {smaller: 2 * smaller, larger: max(2 * smaller, larger)}
    for entry in found:
        assert entry["p_holm"] == pytest.approx(min(expected_holm[entry["p"]], 1))
        assert entry["is_significant"] == (entry["p_holm"] < 0.05)


def test_rounding_makes_no_ranks() -> None:
    """Means over three seeds: thirds that are equal as fractions, and not as floats."""
    ours, base = ([1, 1, 0], [0, 1, 1], [0, 0, 1], [1, 1, 1]), ([0.0] * 3, [1, 0, 0], [1, 1, 1])
    values = {"ours": [*ours] * 9, "base": [*base, [1, 0, 1]] * 9}
    rows = [
        (model, seed, f"u{user:02d}", 0.1 * value)
        for model, users in values.items()
        for user, seeds in enumerate(users)
        for seed, value in enumerate(seeds)
    ]
    per_user = pd.DataFrame(rows, columns=["model", "seed", "user_id", "recall@20"])
    (entry,) = compare_to_best_baseline(
        per_user, ["base"], ["ours"], ["recall@20"], "wilcoxon", 0.05
    )
    in_thirds = np.array([sum(a) - sum(b) for a, b in zip(*values.values(), strict=True)])
    expected = stats.wilcoxon(in_thirds, zero_method="pratt")
    assert entry["p"] == pytest.approx(expected.pvalue, rel=1e-12)
    assert entry["statistic"] == expected.statistic


def test_equal_models_do_not_differ(per_user: pd.DataFrame) -> None:
    twin = per_user[per_user["model"] == "strong"].assign(model="twin")
    both = pd.concat([per_user, twin])
    for test in ("wilcoxon", "t"):
        (entry,) = compare_to_best_baseline(both, ["strong"], ["twin"], ["recall@20"], test, 0.05)
        assert (entry["p"], entry["p_holm"], entry["is_significant"]) == (1.0, 1.0, False)


def test_nothing_is_tested_without_a_baseline(per_user: pd.DataFrame) -> None:
    assert compare_to_best_baseline(per_user, [], ["ours"], ["recall@20"], "t", 0.05) == []


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        # Sorted .005 .01 .03 .04, times 4 3 2 1: .02 .03 .06 .04, and never falling: the last .06.
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([0.01, 0.01], [0.02, 0.02]),
        ([], []),
    ],
)
def test_holm_by_hand(p: list[float], expected: list[float]) -> None:
    assert holm(p) == pytest.approx(expected)

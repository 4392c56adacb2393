"""What figures show, against numpy on small cases."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from analyze_tools import MODELS, epoch, results

from recbole_diffusion.models.embedding_figures import (
    project,
    sampled_rows,
    signal_to_noise,
    singular_cosines,
    snr_over_steps,
)
from recbole_diffusion.pages.figure import (
    DASHES,
    N_STYLES,
    PATTERNS,
    SYMBOLS,
    Figure,
    Missing,
    Panel,
    Series,
    _tick_text,
    label_places,
    log_ticks,
    plotly_spec,
)
from recbole_diffusion.studies.analyze.comparison import (
    draw_groups,
    draw_robustness,
    draw_sensitivity,
    efficiency,
    group_means,
    robustness,
    sensitivity,
)
from recbole_diffusion.studies.analyze.training import (
    History,
    diagnostics,
    draw_change,
    draw_learning_curves,
    draw_loss_terms,
    learning_curves,
    loss_terms,
)

# Embeddings


def test_snr_of_a_small_matrix() -> None:
    # Mean 2.5, variance 1.25.
    assert signal_to_noise(np.array([[1.0, 2.0], [3.0, 4.0]])) == pytest.approx(5.0)


def test_snr_over_steps_equals_that_of_each_noised_matrix(rng: np.random.Generator) -> None:
    start, noise = rng.normal(0.3, 1, (50, 4)), rng.normal(-0.1, 2, (50, 4))
    noise += 0.5 * start  # informative noise is not independent of the items
    alphas_cumprod = np.linspace(0.99, 0.01, 7)
    noised = [np.sqrt(a) * start + np.sqrt(1 - a) * noise for a in alphas_cumprod]
    expected = [(x.mean() / x.std()) ** 2 for x in noised]
    np.testing.assert_allclose(snr_over_steps(start, noise, alphas_cumprod), expected, rtol=1e-12)


def test_singular_cosines_of_known_vectors(rng: np.random.Generator) -> None:
    left, _ = np.linalg.qr(rng.normal(size=(20, 3)))
    right, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    values = np.diag([5.0, 2.0, 1.0])
    before, after = left @ values, left @ values @ right.T
    of_left, of_right = singular_cosines(before, after)
    np.testing.assert_allclose(of_left, 1, atol=1e-9)
    np.testing.assert_allclose(of_right, np.abs(np.diag(right)), atol=1e-9)


def test_pca_keeps_the_two_largest_variances(rng: np.random.Generator) -> None:
    points = rng.normal(size=(40, 5)) * [5, 4, 1, 1, 1]
    variances = np.sort(np.linalg.eigvalsh(np.cov(points.T)))[::-1]
    projected = project(points, "pca", seed=1)
    np.testing.assert_allclose(projected.var(axis=0, ddof=1), variances[:2])


def test_tsne_keeps_clusters_apart_and_repeats(rng: np.random.Generator) -> None:
    points = rng.normal(size=(30, 5)) + np.repeat([0, 50], 15)[:, None]
    one, other = (project(points, "tsne", seed=3) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    centres = one[:15].mean(axis=0), one[15:].mean(axis=0)
    nearest = [np.argmin([np.linalg.norm(p - c) for c in centres]) for p in one]
    assert nearest == [0] * 15 + [1] * 15


def test_sampled_rows_are_all_of_a_few_and_spread_over_many() -> None:
    assert sampled_rows(4).tolist() == [0, 1, 2, 3]
    rows = sampled_rows(10_000, 500)
    assert (rows[0], rows[-1], len(set(rows))) == (0, 9999, 500)


# Training


@pytest.fixture
def histories() -> list[History]:
    three = [epoch(k, 0.2, change=0.1 * (k + 1)) for k in range(3)]
    three[1]["valid"] = None
    return [History("A", 0, 1, three), History("B", 1, 1, [epoch(0, 0.4)])]


def test_learning_curves_add_up_the_seconds(histories: list[History]) -> None:
    table = learning_curves(histories, "recall@20")
    assert table["model"].tolist() == ["A", "A", "A", "B"]
    assert table["training seconds"].tolist() == [2.0, 4.0, 6.0, 2.0]
    assert table["loss"].tolist() == [0.5, 0.25, 0.125, 0.5]
    np.testing.assert_allclose(table["recall@20"], [0.2, np.nan, 0.22, 0.4])


def test_learning_curve_skips_epochs_without_validation(histories: list[History]) -> None:
    figure = draw_learning_curves(histories, "recall@20")
    assert isinstance(figure, Figure)
    curve, level = figure.panels[0].series
    assert (list(curve.x), list(curve.y)) == ([0, 2], [0.2, 0.22])
    assert (level.kind, list(level.x), list(level.y)) == ("level", [0.0, 2.0], [0.4, 0.4])


def test_loss_terms_are_those_of_the_first_seed(histories: list[History]) -> None:
    table = loss_terms(histories[:1])
    assert table["value"].tolist() == [0.4, 0.1, 0.2, 0.05, 0.1, 0.025]
    second = History("A", 0, 2, [epoch(0, 0.9)])
    figure = draw_loss_terms([*histories, second])
    assert isinstance(figure, Figure)
    assert [panel.title for panel in figure.panels] == ["A, seed 1", "B, seed 1"]
    without = {**epoch(0, 0.1), "terms": {}}
    assert isinstance(draw_loss_terms([History("A", 0, 1, [without])]), Missing)


def test_change_needs_the_key_that_logs_it(histories: list[History]) -> None:
    table = diagnostics(histories, ["change"])
    assert table["value"].tolist() == [0.1, 0.2, pytest.approx(0.3)]
    missing = draw_change(histories[1:])
    assert isinstance(missing, Missing)
    assert "log_diagnostics: true" in missing.reason


# Comparisons


def test_efficiency_has_each_model_once() -> None:
    table = efficiency(results(), "recall@20")
    assert table["model"].tolist() == list(MODELS)
    assert table["training seconds an epoch"].tolist() == [0.1, 1.0, 10.0]
    np.testing.assert_allclose(table["recall@20"], [0.1, 0.2, 0.3])


def test_groups_without_users_are_left_out() -> None:
    table = group_means(results(), "at_most", "recall@20")
    assert table["group"].tolist() == ["0-5", "6-10"] * 3
    assert draw_groups(results(), "item_popularity", "recall@20") is None
    figure = draw_groups(results(), "at_most", "recall@20")
    assert figure is not None
    assert plotly_spec(figure.panels[0])["layout"]["xaxis"]["type"] == "category"


def test_robustness_is_sorted_by_the_ratio() -> None:
    table = robustness({0.3: results(), 0.0: results()}, "ndcg@20")
    assert table["train_noise_ratio"].tolist() == [0.0] * 3 + [0.3] * 3
    assert isinstance(draw_robustness(results(), {0.0: results()}, "ndcg@20"), Missing)
    drawn = draw_robustness(results(), {0.3: results(), 0.0: results()}, "ndcg@20")
    assert isinstance(drawn, Figure)
    assert [list(series.x) for series in drawn.panels[0].series] == [[0.0, 0.3]] * 3


def trial(score: float | None, **settings: Any) -> dict[str, Any]:
    return {"settings": settings, "score": score}


def test_sensitivity_joins_the_best_of_each_value() -> None:
    trials = [
        trial(0.1, rate=0.001, name="a", same=1),
        trial(0.3, rate=0.1, name="a", same=1),
        trial(0.2, rate=0.001, name="b", same=1),
        trial(None, rate=0.1, name="b", same=1),
    ]
    study = {"trials": trials, "valid_metric": "Recall@20"}
    assert sensitivity(study)["score"].tolist() == [0.1, 0.3, 0.2]
    figure = draw_sensitivity(study)
    assert isinstance(figure, Figure)
    by_rate, by_name = figure.panels
    assert (by_rate.x, by_rate.is_log_x) == ("rate", True)
    assert (list(by_rate.series[1].x), list(by_rate.series[1].y)) == ([0.001, 0.1], [0.2, 0.3])
    assert (list(by_name.series[1].x), list(by_name.series[1].y)) == (["a", "b"], [0.3, 0.2])
    assert isinstance(draw_sensitivity({**study, "trials": trials[3:]}), Missing)


# Drawing


def test_styles_differ_in_more_than_colour() -> None:
    assert len(set(SYMBOLS)) == len(set(PATTERNS)) == N_STYLES
    assert len(set(zip(DASHES, SYMBOLS, strict=True))) == N_STYLES


def test_spec_is_json_without_nan_and_markup() -> None:
    series = Series("<b>x</b>", 9, "line", [0, 1, 2], [1.0, np.nan, np.inf])
    spec = plotly_spec(Panel("", "a<b", "y", [series]))
    text = json.dumps(spec, allow_nan=False)
    assert "<" not in text.replace("<b>x</b>", "", 1)  # the key of the legend, never printed
    assert spec["data"][0]["y"] == [1.0, None, None]
    assert spec["data"][0]["marker"]["symbol"] == SYMBOLS[9 % N_STYLES]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.001, 5.0], [0.001, 0.01, 0.1, 1.0]),
        ([0.5, 7.0], [0.5, 1.0, 2.0, 5.0]),
        ([1e-12, 1.0], [1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1.0]),
        ([2.0, 2.1], None),
        ([0.0, None], None),
    ],
)
def test_log_ticks(values: list[Any], expected: list[float] | None) -> None:
    ticks = log_ticks(values)
    assert ticks == (expected if expected is None else pytest.approx(expected))


def test_short_counts_have_whole_ticks() -> None:
    frame = pd.DataFrame({"x": [0, 1, 4], "y": [1.0, 2.0, 3.0]})
    for scale, expected in ((1, 1), (100, None), (0.5, None)):
        series = Series("a", 0, "line", frame["x"] * scale, frame["y"])
        axis = plotly_spec(Panel("", "epoch", "y", [series]))["layout"]["xaxis"]
        assert axis.get("dtick") == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.2, "0.2"),
        (1000.0, "1000"),
        (1e-6, "10<sup>-6</sup>"),
        (3e-5, "3·10<sup>-5</sup>"),
        (1.5e7, "1.5·10<sup>7</sup>"),
    ],
)
def test_ticks_far_from_one_are_powers_of_ten(value: float, text: str) -> None:
    series = Series("a", 0, "line", [0, 1, 2], [value / 20, value, value * 20])
    axis = plotly_spec(Panel("", "x", "y", [series], is_log_y=True))["layout"]["yaxis"]
    assert _tick_text(value) == text
    assert len(axis["ticktext"]) == len(axis["tickvals"]) >= 3


def test_labels_point_inwards_and_do_not_meet() -> None:
    def point(name: str, x: float, y: float) -> Series:
        return Series(name, 0, "points", [x], [y], labels=[name])

    panel = Panel("", "x", "y", [point("left", 0, 0), point("a", 1, 1), point("b", 1, 0.99)])
    assert label_places(panel) == {(0, 0): "top right", (1, 0): "top left", (2, 0): "bottom left"}
    crowded = Panel("", "x", "y", [*panel.series, point("c", 0.99, 0.995)])
    assert (3, 0) not in label_places(crowded)
    trace = plotly_spec(crowded)["data"][3]
    assert trace["text"] == [""]

"""Figures of a comparison, from its ``results.json`` and those of its neighbours."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from recbole_diffusion.pages.figure import Figure, Missing, Panel, Series
from recbole_diffusion.pages.tables import metric_name

GROUP_FIGURES = {
    "at_most": (
        "Users with few interactions",
        "train interactions, at most",
        "Users with at most so many interactions in train; each group holds the one before.",
        "SimDiff, Figure 7",
    ),
    "between": (
        "Users by activity",
        "train interactions",
        "Users by their number of interactions in train.",
        "DiffMM, Section 3.4 (the groups)",
    ),
    "item_popularity": (
        "Items by popularity",
        "items, least popular first",
        "Test items in fifths of all items by interactions in train; mean over the users who have "
        "one of the group.",
        "",
    ),
}


def efficiency(results: Mapping[str, Any], metric: str) -> pd.DataFrame:
    """A row for each finished model: model, seconds of training an epoch, metric, its deviation."""
    rows = [
        (
            model["name"],
            model["costs"]["train_seconds_per_epoch"]["mean"],
            model["test"][metric]["mean"],
            model["test"][metric]["std"],
        )
        for model in results["models"]
        if model["test"] and model["costs"]["train_seconds_per_epoch"]["mean"]
        if model["test"][metric]["mean"] is not None
    ]
    columns = ["model", "training seconds an epoch", metric, f"{metric} std"]
    return pd.DataFrame(rows, columns=columns)


def group_means(results: Mapping[str, Any], kind: str, metric: str) -> pd.DataFrame:
    """A row for each model and group with users: model, group, users, metric, its deviation."""
    rows = [
        (model["name"], group["group"], group["users"], spread["mean"], spread["std"])
        for model in results["models"]
        for group in model["groups"].get(kind, ())
        for spread in [group["metrics"].get(metric)]
        if spread is not None and spread["mean"] is not None
    ]
    return pd.DataFrame(rows, columns=["model", "group", "users", metric, f"{metric} std"])


def robustness(parts: Mapping[float, Mapping[str, Any]], metric: str) -> pd.DataFrame:
    """A row for each ratio of added interactions and model: ratio, model, metric, its deviation.

    Args:
        parts: ``results.json`` by ``train_noise_ratio``.
        metric: Of test.
    """
    rows = [
        (ratio, model["name"], model["test"][metric]["mean"], model["test"][metric]["std"])
        for ratio, results in sorted(parts.items())
        for model in results["models"]
        if model["test"] and model["test"][metric]["mean"] is not None
    ]
    return pd.DataFrame(rows, columns=["train_noise_ratio", "model", metric, f"{metric} std"])


def sensitivity(study: Mapping[str, Any]) -> pd.DataFrame:
    """A row for each finished trial with a score: its settings, then the validation score.

    Args:
        study: Content of ``study.json``.
    """
    rows = [
        {**trial["settings"], "score": trial["score"]}
        for trial in study["trials"]
        if trial["score"] is not None
    ]
    return pd.DataFrame(rows)


def draw_efficiency(results: Mapping[str, Any], metric: str) -> Figure | Missing:
    """Accuracy against seconds an epoch, a point a model."""
    title = "Accuracy against training time"
    table = efficiency(results, metric)
    if table.empty:
        return Missing(title, "no model has a finished run")
    numbers = _styles(results)
    series = [
        Series(row[0], numbers[row[0]], "points", [row[1]], [row[2]], _errors([row[3]]), [row[0]])
        for row in table.itertuples(index=False, name=None)
    ]
    panel = Panel(
        "", "seconds of training an epoch", f"test {metric_name(metric)}", series, is_log_x=True
    )
    return Figure(
        "efficiency",
        title,
        f"Test {metric_name(metric)}, mean and deviation over seeds, against the mean seconds of "
        "training an epoch on a logarithmic axis; upper left is best. Pre-training, validation and "
        "what a model computes when it is made are not in these seconds, and the number of epochs "
        "differs: see the costs.",
        "InfoDCL, Figure 3; SimDiff, Figure 8",
        [panel],
        table,
    )


def _styles(results: Mapping[str, Any]) -> dict[str, int]:
    return {model["name"]: number for number, model in enumerate(results["models"])}


def _errors(values: Sequence[float | None]) -> list[float] | None:
    known = [0.0 if value is None or pd.isna(value) else float(value) for value in values]
    return known if any(known) else None


def draw_groups(results: Mapping[str, Any], kind: str, metric: str) -> Figure | None:
    """Bars of each group of users or items."""
    table = group_means(results, kind, metric)
    if table.empty:
        return None
    title, axis, caption, source = GROUP_FIGURES[kind]
    series = [
        Series(
            str(name),
            _styles(results)[str(name)],
            "bars",
            list(rows["group"]),
            list(rows[metric]),
            _errors(list(rows[f"{metric} std"])),
        )
        for name, rows in table.groupby("model", sort=False)
    ]
    return Figure(
        f"groups-{kind.replace('_', '-')}",
        title,
        f"Test {metric_name(metric)}, mean and deviation over seeds. {caption} Groups without "
        "users are left out.",
        source,
        [Panel("", axis, f"test {metric_name(metric)}", series)],
        table,
    )


def draw_robustness(
    results: Mapping[str, Any], parts: Mapping[float, Mapping[str, Any]], metric: str
) -> Figure | Missing:
    """Accuracy over the share of random interactions in train."""
    title = "Robustness against random interactions"
    if len(parts) < 2:
        return Missing(
            title,
            "the same comparison beside this one with key `train_noise_ratio`, such as "
            "--train_noise_ratio=0.3, makes it",
        )
    table = robustness(parts, metric)
    styles = _styles(results)
    series = [
        Series(
            str(name),
            styles[str(name)],
            "line",
            list(rows["train_noise_ratio"]),
            list(rows[metric]),
            _errors(list(rows[f"{metric} std"])),
        )
        for name, rows in table.groupby("model", sort=False)
        if name in styles
    ]
    return Figure(
        "robustness",
        title,
        f"Test {metric_name(metric)} of comparisons that differ in nothing but "
        "`train_noise_ratio`, the share of random interactions added to the train part.",
        "DiffRec, Figure 4",
        [Panel("", "train_noise_ratio", f"test {metric_name(metric)}", series)],
        table,
    )


def draw_sensitivity(study: Mapping[str, Any]) -> Figure | Missing:
    """Validation score over each key of a grid or search."""
    title = "Sensitivity"
    table = sensitivity(study)
    if table.empty:
        return Missing(title, "no trial of this study has a score")
    metric = metric_name(study["valid_metric"].lower())
    keys = [key for key in table.columns[:-1] if table[key].map(str).nunique() > 1]
    panels = [_sensitivity_panel(table, key, metric) for key in keys]
    if not panels:
        return Missing(title, "all trials have the same settings")
    return Figure(
        "sensitivity",
        title,
        f"{metric} on validation of every finished trial, against each key that was varied; the "
        "line joins the best trial of each value. Further keys vary beside the one of a panel.",
        "InfoDCL, Figure 9; SimDiff, Figure 9",
        panels,
        table,
    )


def _sensitivity_panel(table: pd.DataFrame, key: str, metric: str) -> Panel:
    values = table[key]
    is_number = values.map(lambda v: isinstance(v, (int, float)) and not isinstance(v, bool)).all()
    x = values.astype(float) if is_number else values.map(str)
    best = table["score"].groupby(x).max()
    spans = is_number and x.min() > 0 and x.max() / x.min() >= 50
    return Panel(
        key,
        key,
        metric,
        [
            Series("trials", 1, "points", list(x), list(table["score"])),
            Series("best of each value", 0, "line", list(best.index), list(best)),
        ],
        is_log_x=bool(spans),
    )

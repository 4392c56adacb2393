"""Figures of training, from the histories of runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from recbole_diffusion.pages.figure import Figure, Missing, Panel, Series
from recbole_diffusion.pages.tables import metric_name

NO_HISTORY = "no run has a history.jsonl: runs of this version write one"
LOSS_KEYS = "a model whose loss has several terms, such as InfoDCL or SimDiff"


@dataclass(frozen=True)
class History:
    """Of one run.

    Attributes:
        name: Of the model in the figures.
        style: Number of its style there.
        seed: Of the run.
        records: As ``read_history`` gives them.
    """

    name: str
    style: int
    seed: int
    records: list[dict[str, Any]]


def learning_curves(histories: Sequence[History], metric: str) -> pd.DataFrame:
    """A row for each epoch: model, seed, epoch from 0, seconds of training since the start, loss.

    Args:
        histories: Of all runs.
        metric: Of validation, a column of that name; NaN for an epoch without one.
    """
    rows = [
        (
            history.name,
            history.seed,
            record["epoch"],
            seconds,
            record["loss"],
            _valid(record, metric),
        )
        for history in histories
        for record, seconds in zip(history.records, _seconds(history), strict=True)
    ]
    columns = ["model", "seed", "epoch", "training seconds", "loss", metric]
    return pd.DataFrame(rows, columns=columns)


def _valid(record: dict[str, Any], metric: str) -> float:
    return float((record["valid"] or {}).get(metric, np.nan))


def _seconds(history: History) -> np.ndarray:
    return np.cumsum([record["train_seconds"] for record in history.records])


def loss_terms(histories: Sequence[History]) -> pd.DataFrame:
    """A row for each epoch and term: model, seed, epoch, term, value as the loss sums it."""
    rows = [
        (history.name, history.seed, record["epoch"], term, value)
        for history in histories
        for record in history.records
        for term, value in record["terms"].items()
    ]
    return pd.DataFrame(rows, columns=["model", "seed", "epoch", "term", "value"])


def diagnostics(histories: Sequence[History], names: Sequence[str]) -> pd.DataFrame:
    """A row for each epoch and diagnostic of these names: model, seed, epoch, diagnostic, value."""
    rows = [
        (history.name, history.seed, record["epoch"], name, record["diagnostics"][name])
        for history in histories
        for record in history.records
        for name in names
        if name in record.get("diagnostics", {})
    ]
    return pd.DataFrame(rows, columns=["model", "seed", "epoch", "diagnostic", "value"])


def draw_learning_curves(histories: Sequence[History], metric: str) -> Figure | Missing:
    """Validation by epoch and by seconds of training; every run a line of its own."""
    title = "Learning curves"
    table = learning_curves(histories, metric)
    validated = table.dropna(subset=[metric])
    if validated.empty:
        return Missing(title, NO_HISTORY)
    panels = [
        Panel(name, x, f"validation {metric_name(metric)}", _curves(histories, table, x, metric))
        for name, x in (("By epoch", "epoch"), ("By time", "training seconds"))
    ]
    if len({history.name for history in histories}) == 1:
        loss = _curves(histories, table, "epoch", "loss")
        panels.append(Panel("Training loss", "epoch", "loss, mean over batches", loss))
    return Figure(
        "learning-curves",
        title,
        f"{metric_name(metric)} on validation after each epoch, one line a seed. A model that is "
        "fitted in one step is a level line. Time is of training alone, without validation and "
        "pre-training; it holds for the machine and the load that the runs had.",
        "",
        panels,
        table,
    )


def _curves(histories: Sequence[History], table: pd.DataFrame, x: str, y: str) -> list[Series]:
    ends = (float(table[x].min()), float(table[x].max()))
    series = []
    for history in histories:
        rows = table[(table["model"] == history.name) & (table["seed"] == history.seed)]
        rows = rows.dropna(subset=[y])
        if len(rows) == 1 and ends[0] < ends[1]:
            level = [float(rows[y].iloc[0])] * 2
            series.append(Series(history.name, history.style, "level", ends, level))
        elif len(rows):
            series.append(Series(history.name, history.style, "line", rows[x], rows[y]))
    return series


def draw_loss_terms(histories: Sequence[History]) -> Figure | Missing:
    """Terms of the loss by epoch, a panel for each model that names them; of its first seed."""
    title = "Balance of the loss"
    shown = [h for h in _first_seeds(histories) if any(r["terms"] for r in h.records)]
    if not shown:
        return Missing(title, f"needs {LOSS_KEYS}")
    table = loss_terms(shown)
    terms = list(dict.fromkeys(table["term"]))
    panels = [
        Panel(
            f"{history.name}, seed {history.seed}",
            "epoch",
            "weighted term",
            [
                Series(term, number, "line", rows["epoch"], rows["value"])
                for number, term in enumerate(terms)
                for rows in [_rows(table, model=history.name, term=term)]
                if (rows["value"] > 0).any()
            ],
            is_log_y=True,
        )
        for history in shown
    ]
    return Figure(
        "loss-balance",
        title,
        "Terms of the loss as they enter the sum, mean over the batches of an epoch. The papers "
        "draw reconstruction and BPR with and without the balance loss: a row such as "
        "no_balance=InfoDCL with --no_balance.balance_weight=0.0 adds the second panel. A term of "
        "weight 0 is left out.",
        "InfoDCL, Figure 6; SimDiff, Figure 6",
        panels,
        table,
    )


def _first_seeds(histories: Sequence[History]) -> list[History]:
    """One run of each model."""
    firsts: dict[str, History] = {}
    for history in histories:
        firsts.setdefault(history.name, history)
    return list(firsts.values())


def _rows(table: pd.DataFrame, **values: Any) -> pd.DataFrame:
    for column, value in values.items():
        table = table[table[column] == value]
    return table


def draw_change(histories: Sequence[History]) -> Figure | Missing:
    """How much what is generated changes from one validation to the next."""
    title = "Change of what is generated"
    table = diagnostics(histories, ["change", "change_of_scores"])
    if table.empty:
        return Missing(title, "key `log_diagnostics: true` logs it, for every model")
    what = {"change": "Item embeddings", "change_of_scores": "Scores of sampled users and items"}
    panels = [
        Panel(
            text,
            "epoch",
            "mean relative change",
            [
                Series(history.name, history.style, "line", rows["epoch"], rows["value"])
                for history in histories
                for rows in [_rows(table, diagnostic=name, model=history.name, seed=history.seed)]
                if len(rows)
            ],
            is_log_y=True,
        )
        for name, text in what.items()
        if (table["diagnostic"] == name).any()
    ]
    return Figure(
        "change",
        title,
        "Mean of |now - before| / |before| over all elements, from one validation to the next "
        "(Eq. 1), on a logarithmic axis. Generated item embeddings are SimDiff's; scores are those "
        "of up to 64 users and 4096 items, the same in all epochs and models.",
        "SimDiff, Figure 3",
        panels,
        table,
    )


def draw_snr_over_epochs(histories: Sequence[History]) -> Figure | Missing | None:
    """Signal against noise in SimDiff's latent variable and in a noised embedding."""
    title = "Signal-to-noise ratio over epochs"
    histories = _first_seeds(histories)
    table = diagnostics(histories, ["log_snr", "log_snr_gaussian"])
    if table.empty:
        return None
    what = {"log_snr": "latent variable X_T", "log_snr_gaussian": "Gaussian noise"}
    table["diagnostic"] = table["diagnostic"].map(what)
    panels = [
        Panel(
            f"{history.name}, seed {history.seed}",
            "epoch",
            "log SNR",
            [
                Series(name, number, "line", rows["epoch"], rows["value"])
                for number, name in enumerate(what.values())
                for rows in [_rows(table, diagnostic=name, model=history.name, seed=history.seed)]
                if len(rows)
            ],
        )
        for history in histories
        if (table["model"] == history.name).any()
    ]
    return Figure(
        "snr-epochs",
        title,
        "Natural logarithm of squared mean over variance, over all elements of all items (Eq. 22), "
        "at each validation: of the latent variable that the guide is injected into, and of the "
        "same item embeddings after all forward steps with Gaussian noise.",
        "SimDiff, Figure 5",
        panels,
        table,
    )

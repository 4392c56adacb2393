"""PrefixDiff's figures, from the checkpoint of a run: loss by level, one history, and the views."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from recbole_diffusion.base.randomness import own_randomness
from recbole_diffusion.models.prefixdiff.prefixes import ViewDenoiser, likelihood, mean_loss
from recbole_diffusion.pages.figure import Figure, Gallery, Missing, Panel, Series
from recbole_diffusion.pages.tables import metric_name

LEVELS = np.arange(1, 10) / 10
# Users whose loss is drawn, and items that count as given back.
N_USERS, N_LIKELIEST = 1000, 20
# Of a history that is drawn.
LONGEST = 60


def draw(run: Any, seed: int, _projection: str, key: str, name: str) -> Gallery:
    """The figures of one run; arguments as ``infodcl.draw``."""
    gallery = Gallery()
    losses, history = loss_table(run.network, seed), history_table(run.network)
    gallery.add(_draw_losses(losses, key, name), _draw_history(history, key, name))
    gallery.add(_draw_views(run, key, name))
    return gallery


@torch.no_grad()
def loss_table(model: Any, seed: int) -> pd.DataFrame:
    """Mean negative log-likelihood of what vanished, by level, of the model and its skip alone."""
    rows = []
    for level in LEVELS:
        with own_randomness(seed, model.device):
            users = torch.randperm(model.n_users - 1)[:N_USERS].to(model.device) + 1
            prefixes, targets = model.absorb_at(users, float(level))
        skip = model.skip_scores(prefixes.rows)
        scores = {"PrefixDiff": model.logits(prefixes, skip)}
        if skip is not None:
            scores["closed form alone"] = skip * model.likeliest_gain
        row = {"level": level}
        for kind, logits in scores.items():
            found = likelihood(logits, prefixes, targets)
            row[kind] = mean_loss(found, prefixes, targets).item()
        rows.append(row)
    return pd.DataFrame(rows)


@torch.no_grad()
def history_table(model: Any) -> pd.DataFrame:
    """A row for each level and item of one history: what became of the item.

    The history is the longest of those with at most ``LONGEST`` items. An item that vanished counts
    as given back if it is among the ``N_LIKELIEST`` items that the model finds likeliest.
    """
    lengths = model.rows.offsets.diff().cpu()
    user = int(torch.where(lengths <= LONGEST, lengths, 0).argmax())
    items = model.rows.batch(torch.tensor([user], device=model.rows.items.device)).items.cpu()
    rows = []
    for level in LEVELS:
        n_left = len(items) - int(np.ceil(np.float32(level) * len(items)))
        if n_left < 1:
            continue
        likeliest = set(model.score_prefix(user, n_left).topk(N_LIKELIEST).indices.tolist())
        for place, item in enumerate(items.tolist()):
            state = "given back" if item in likeliest else "not given back"
            rows.append((level, place + 1, item, "remains" if place < n_left else state))
    return pd.DataFrame(rows, columns=["level", "place", "item", "state"])


def view_table(run: Any) -> pd.DataFrame:
    """A row for the whole model and each view: what is left out, and the validation score.

    A view is left out by a table of zeros, and nothing is trained anew.
    """
    config, denoiser = run.config, run.network.averaged.denoiser
    metric = config["valid_metric"].lower()
    trainer = run.make_trainer(Path(config["checkpoint_dir"]))
    found = {"nothing": trainer.evaluate(run.split.valid, load_best_model=False)[metric]}
    for view, table in zip(denoiser.views, denoiser.tables, strict=True):
        kept = table.detach().clone()
        with torch.no_grad():
            table.zero_()
            result = trainer.evaluate(run.split.valid, load_best_model=False)
            table.copy_(kept)
        found[view.kind if view.kind == "none" else f"{view.kind} {view.decay:g}"] = result[metric]
    return pd.DataFrame({"left out": list(found), metric_name(metric): list(found.values())})


def _draw_losses(table: pd.DataFrame, key: str, name: str) -> Figure:
    series = [
        Series(kind, number, "line", table["level"], table[kind])
        for number, kind in enumerate(table.columns[1:])
    ]
    return Figure(
        f"levels{key}",
        f"Loss by level{name}",
        "Mean negative log-likelihood of the items that vanished and are given back first, on "
        "histories of the train part. The higher the level, the less is left to tell them by.",
        "",
        [Panel("", "level", "loss", series)],
        table,
    )


def _draw_history(table: pd.DataFrame, key: str, name: str) -> Figure:
    states = ("remains", "given back", "not given back")
    series = []
    for number, state in enumerate(states):
        part = table[table["state"] == state]
        series.append(Series(state, number, "points", part["place"], part["level"]))
    return Figure(
        f"history{key}",
        f"One history, level by level{name}",
        "Each row is a level, each point an item of the history in its order. What vanished is "
        f"given back where it is among the {N_LIKELIEST} likeliest of all items by what remains.",
        "",
        [Panel("", "place in the history", "level", series)],
        table,
    )


def _draw_views(run: Any, key: str, name: str) -> Figure | Missing:
    title = f"What each view brings{name}"
    if not isinstance(run.network.averaged.denoiser, ViewDenoiser):
        return Missing(title, "with `denoiser: attention` there are no views")
    if run.network.n_updates == 0:
        return Missing(title, "the closed form alone is the best: training brought nothing")
    table = view_table(run)
    metric = table.columns[1]
    return Figure(
        f"views{key}",
        title,
        f"Validation {metric} of the model, and with one view left out; nothing is trained anew.",
        "",
        [
            Panel(
                "",
                "left out",
                f"validation {metric}",
                [Series("without it", 0, "bars", table["left out"], table[metric])],
            )
        ],
        table,
    )

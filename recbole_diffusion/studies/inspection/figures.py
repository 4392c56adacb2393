"""Pictures of a data set: long tails, lengths of histories, times."""

import numpy as np
import pandas as pd

from recbole_diffusion.data.split import PARTS
from recbole_diffusion.pages.figure import Figure, Gallery, Missing, Panel, Series
from recbole_diffusion.studies.inspection.data import Pairs

# Points of a curve, and bars of the times.
N_POINTS, N_PERIODS = 100, 24


def draw(pairs: Pairs) -> Gallery:
    """All that the data give.

    Args:
        pairs: Of a split.
    """
    gallery = Gallery()
    gallery.add(_lengths(pairs), _concentration(pairs), _times(pairs))
    return gallery


def _lengths(pairs: Pairs) -> Figure:
    """How many users and items have how many interactions, in classes that double."""
    counts = {whose: pairs.counts(whose) for whose in ("users", "items")}
    most = max(int(c.max()) for c in counts.values())
    bounds = 2 ** np.arange(int(np.log2(max(most, 1))) + 2)
    names = [
        f"{a}" if b == a + 1 else f"{a}-{b - 1}" for a, b in zip(bounds, bounds[1:], strict=False)
    ]
    shares = {w: np.histogram(c, bounds)[0] / len(c) for w, c in counts.items()}
    series = [
        Series(whose, style, "bars", names, shares[whose].tolist())
        for style, whose in enumerate(shares)
    ]
    return Figure(
        "lengths",
        "Lengths of histories",
        "How many users and items have so many interactions, of all three parts together. Few per "
        "item make features worth more, few per user make popularity hard to beat.",
        "",
        [Panel("", "interactions", "share of users, or of items", series)],
        pd.DataFrame({"interactions": names, **shares}),
    )


def _concentration(pairs: Pairs) -> Figure:
    """Lorenz curves: what share of the interactions the most popular share of items has."""
    shares = np.linspace(0, 1, N_POINTS + 1)
    curves = {}
    for whose in ("users", "items"):
        counts = np.sort(pairs.counts(whose))[::-1]
        total = np.concatenate([[0], counts.cumsum()]) / counts.sum()
        curves[whose] = np.interp(shares, np.linspace(0, 1, len(total)), total)
    series = [
        Series(whose, style, "line", shares.tolist(), curve.tolist())
        for style, (whose, curve) in enumerate(curves.items())
    ]
    return Figure(
        "concentration",
        "How much is with how few",
        "The share of all interactions that the most active users, or the most popular items, "
        "have. The higher the curve of items, the more a ranking by popularity gives.",
        "",
        [
            Panel(
                "",
                "share of users, or of items, the most active first",
                "share of interactions",
                series,
            )
        ],
        pd.DataFrame({"share": shares, **curves}),
    )


def _times(pairs: Pairs) -> Figure | Missing:
    """When the interactions of each part took place."""
    title = "When"
    if not pairs.times:
        return Missing(
            title, "the data have no times that are loaded (keys TIME_FIELD and load_col)"
        )
    everything = np.concatenate(list(pairs.times.values()))
    bounds = np.linspace(everything.min(), everything.max(), N_PERIODS + 1)
    days = [str(np.datetime64(int(bound), "s").astype("datetime64[D]")) for bound in bounds[:-1]]
    counts = {name: np.histogram(pairs.times[name], bounds)[0] for name in PARTS}
    series = [
        Series(name, style, "line", list(range(N_PERIODS)), counts[name].tolist())
        for style, name in enumerate(PARTS)
    ]
    return Figure(
        "times",
        title,
        f"Interactions of each part in {N_PERIODS} periods of equal length, from {days[0]}. Where "
        "train and test share their periods, a model knows what others did later than what it is "
        "asked for.",
        "",
        [Panel("", "period", "interactions", series)],
        pd.DataFrame({"begin": days, **counts}),
    )

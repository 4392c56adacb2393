"""A figure apart from the page it stands on: traces for plotly, and the table of its data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

# Told apart without colour too: each style has a dash, a marker and a pattern of its own.
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid", "dash")
SYMBOLS = (
    "circle",
    "square",
    "diamond",
    "triangle-up",
    "x",
    "cross",
    "triangle-down",
    "star",
)
PATTERNS = ("", "/", "\\", "x", "-", "|", "+", ".")
N_STYLES = len(SYMBOLS)
# More points than this stand without markers, which would run together.
MOST_MARKERS = 40
# Ticks of a logarithmic axis in each decade, the sparse choices first.
LOG_DIGITS = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7))
MOST_LOG_TICKS = 7
MOST_LABEL_LETTERS = 14
# Room of a label, as shares of what the points span in a plot on a phone.
LABEL_WIDTH, LABEL_HEIGHT = 0.3, 0.07


@dataclass(frozen=True)
class Series:
    """One thing that is drawn in a panel.

    Attributes:
        name: In the legend; series of one name are shown and hidden together.
        style: Number of its colour, dash, marker and pattern.
        kind: How it is drawn; ``level`` is a line across the panel, at the only value.
        x: Numbers or names.
        y: Numbers; what is not finite is left out.
        error: Deviations around ``y``.
        labels: Of each point, printed beside it.
    """

    name: str
    style: int
    kind: Literal["line", "points", "bars", "level"]
    x: Sequence[Any]
    y: Sequence[float]
    error: Sequence[float] | None = None
    labels: Sequence[str] | None = None


@dataclass(frozen=True)
class Panel:
    """Series on one pair of axes.

    Attributes:
        title: Printed above; empty for the only panel of a figure.
        x: Title of the axis.
        y: The same.
        series: What is drawn.
        is_log_x: Whether the axis is logarithmic.
        is_log_y: The same.
        has_ticks: Whether numbers stand at the axes; they say nothing of a projection.
    """

    title: str
    x: str
    y: str
    series: list[Series]
    is_log_x: bool = False
    is_log_y: bool = False
    has_ticks: bool = True


@dataclass(frozen=True)
class Figure:
    """Panels, what they show, and the data they are drawn from.

    Attributes:
        key: In file names and links: lower case, digits and hyphens.
        title: A few words.
        caption: What is drawn, from what, and what to look for.
        source: Paper and figure, or empty.
        panels: At least one.
        table: All that is drawn.
    """

    key: str
    title: str
    caption: str
    source: str
    panels: list[Panel]
    table: pd.DataFrame


@dataclass(frozen=True)
class Missing:
    """A figure that is not drawn, and what would make it."""

    title: str
    reason: str


@dataclass(frozen=True)
class Gallery:
    """What could be drawn, and what could not."""

    figures: list[Figure] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)

    def add(self, *made: "Figure | Missing | None") -> None:
        """Sort in what a drawing function gave; None is for what does not concern a model."""
        self.figures.extend(part for part in made if isinstance(part, Figure))
        self.missing.extend(part for part in made if isinstance(part, Missing))


def plain(text: Any) -> str:
    """A text for plotly, which takes tags for markup."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def plotly_spec(panel: Panel) -> dict[str, Any]:
    """Traces and layout of a panel as plotly's JSON, without the colours that the page gives."""
    xs = [x for series in panel.series for x in series.x]
    ys = [y for series in panel.series for y in series.y]
    places = label_places(panel)
    x_axis = _axis(panel.x, xs if panel.is_log_x else None, panel.has_ticks)
    if any(isinstance(x, str) for x in xs):
        x_axis |= {"type": "category", "showgrid": False}  # "6-10" would pass for a date
    elif _is_short_count(xs):
        x_axis["dtick"] = 1  # no half epochs
    return {
        "data": [_trace(series, n, places) for n, series in enumerate(panel.series)],
        "layout": {
            "xaxis": x_axis,
            "yaxis": _axis(panel.y, ys if panel.is_log_y else None, panel.has_ticks),
            "barmode": "group",
            "showlegend": False,
        },
    }


def _is_short_count(values: Sequence[Any]) -> bool:
    return all(float(x).is_integer() for x in values) and max(values) - min(values) <= 10


def _axis(title: str, log_values: Sequence[Any] | None, has_ticks: bool) -> dict[str, Any]:
    """An axis, logarithmic if its values are given."""
    axis: dict[str, Any] = {
        "title": {"text": plain(title)},
        "automargin": True,
        "exponentformat": "power",
    }
    if log_values is not None:
        axis["type"] = "log"
        ticks = log_ticks(log_values)
        if ticks is not None:
            axis |= {"tickvals": ticks, "ticktext": [_tick_text(tick) for tick in ticks]}
    if not has_ticks:
        axis |= {"showticklabels": False, "showgrid": False, "zeroline": False}
    return axis


def log_ticks(values: Sequence[Any]) -> list[float] | None:
    """Round numbers in the range of the positive values: three or more, as sparse as can be.

    None leaves the choice to plotly, for a range that holds fewer.
    """
    known = [float(value) for value in values if value is not None and 0 < value < np.inf]
    if not known:
        return None
    low, high = min(known) / 1.05, max(known) * 1.05
    exponents = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for digits in LOG_DIGITS:
        ticks = np.outer(10.0**exponents, digits).ravel()
        inside = ticks[(low <= ticks) & (ticks <= high)]
        if len(inside) >= 3:
            stride = -(-len(inside) // MOST_LOG_TICKS)
            return [float(f"{tick:.6g}") for tick in inside[::stride]]
    return None


def _tick_text(value: float) -> str:
    """As it is printed; far from 1 as a power of ten."""
    if 1e-3 <= value < 1e5:
        return f"{value:g}"
    digits, _, exponent = f"{value:.1e}".partition("e")
    factor = "" if float(digits) == 1 else f"{float(digits):g}·"
    return f"{factor}10<sup>{int(exponent)}</sup>"


def label_places(panel: Panel) -> dict[tuple[int, int], str]:
    """Where the label of each point goes, by series and point, so that none lies on another.

    Labels point inwards, above their point or else below it; one without room is left out, and the
    legend has its name.
    """
    points = [
        (number, k, _scaled(x, panel.is_log_x), _scaled(y, panel.is_log_y))
        for number, series in enumerate(panel.series)
        for k, (x, y) in enumerate(zip(series.x, series.y, strict=True))
        if series.labels is not None and np.isfinite(y)
    ]
    if not points:
        return {}
    values = np.array([point[2:] for point in points])
    span = np.ptp(values, axis=0)
    values = (values - values.min(axis=0)) / np.where(span > 0, span, 1)
    places, rows = {}, list(map(tuple, values))
    for (number, k, _, _), (x, y) in zip(points, values, strict=True):
        for name, shift in (("top", LABEL_HEIGHT), ("bottom", -LABEL_HEIGHT)):
            inwards = LABEL_WIDTH / 2 * (1 if x <= 0.5 else -1)
            centre = (x + inwards, y + shift)
            if not any(_overlap(centre, other) for other in rows if other != (x, y)):
                places[number, k] = f"{name} {'right' if x <= 0.5 else 'left'}"
                rows.append(centre)
                break
    return places


def _scaled(value: float, is_log: bool) -> float:
    return float(np.log10(value)) if is_log else float(value)


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return abs(one[0] - other[0]) < LABEL_WIDTH and abs(one[1] - other[1]) < LABEL_HEIGHT


def _trace(series: Series, number: int, places: Mapping[tuple[int, int], str]) -> dict[str, Any]:
    style = series.style % N_STYLES
    trace: dict[str, Any] = {
        "name": plain(series.name),
        "x": [_plain_value(x) for x in series.x],
        "y": [_finite(y) for y in series.y],
        "meta": {"style": style, "group": series.name, "kind": series.kind},
    }
    if series.error is not None:
        trace["error_y"] = {"type": "data", "array": [_finite(e) for e in series.error]}
    if series.kind == "bars":
        return trace | {"type": "bar", "marker": {"pattern": {"shape": PATTERNS[style]}}}
    trace |= {"type": "scatter", "marker": {"symbol": SYMBOLS[style], "size": 7}}
    if series.labels is not None:
        line = [places.get((number, k)) for k in range(len(series.x))]
        texts = [plain(_shortened(text)) for text in series.labels]
        trace |= {
            "text": [t if place else "" for t, place in zip(texts, line, strict=True)],
            "textposition": [place or "top right" for place in line],
            "cliponaxis": False,
        }
    has_markers = series.kind == "points" or len(series.x) <= MOST_MARKERS
    parts = {
        "lines": series.kind in ("line", "level"),
        "markers": has_markers and series.kind != "level",
        "text": series.labels is not None,
    }
    trace["mode"] = "+".join(name for name, is_drawn in parts.items() if is_drawn)
    if parts["lines"]:
        trace["line"] = {"dash": DASHES[style], "width": 2}
    if series.kind == "points" and len(series.x) > MOST_MARKERS:
        trace["marker"] |= {"size": 5, "opacity": 0.7}
    return trace


def _shortened(text: str) -> str:
    """A label that has room on a phone; the legend has the whole name."""
    return text if len(text) <= MOST_LABEL_LETTERS else text[: MOST_LABEL_LETTERS - 1] + "…"


def _plain_value(value: Any) -> Any:
    return plain(value) if isinstance(value, str) else _finite(value)


def _finite(value: Any) -> float | int | None:
    if value is None or not np.isfinite(value):
        return None
    return value.item() if isinstance(value, np.generic) else value

"""A figure apart from the page it stands on: traces for plotly, and the table of its data."""

from collections.abc import Sequence
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
    x_axis = _axis(panel.x, panel.is_log_x, panel.has_ticks)
    if any(isinstance(x, str) for series in panel.series for x in series.x):
        x_axis["type"] = "category"  # "6-10" would pass for a date
    return {
        "data": [_trace(series) for series in panel.series],
        "layout": {
            "xaxis": x_axis,
            "yaxis": _axis(panel.y, panel.is_log_y, panel.has_ticks),
            "barmode": "group",
            "showlegend": False,
        },
    }


def _axis(title: str, is_log: bool, has_ticks: bool) -> dict[str, Any]:
    axis: dict[str, Any] = {"title": {"text": plain(title)}, "automargin": True}
    if is_log:
        axis |= {"type": "log", "dtick": "D2", "exponentformat": "power"}
    if not has_ticks:
        axis |= {"showticklabels": False, "showgrid": False, "zeroline": False}
    return axis


def _trace(series: Series) -> dict[str, Any]:
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
        trace |= {"text": [plain(text) for text in series.labels], "textposition": "top center"}
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
        trace["marker"] |= {"size": 4, "opacity": 0.6}
    return trace


def _plain_value(value: Any) -> Any:
    return plain(value) if isinstance(value, str) else _finite(value)


def _finite(value: Any) -> float | int | None:
    if value is None or not np.isfinite(value):
        return None
    return value.item() if isinstance(value, np.generic) else value

"""A page that stands alone: tables, figures with their data, style and plotly in one file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jinja2
import pandas as pd
from plotly.offline import get_plotlyjs

from recbole_diffusion.pages.figure import Figure, Gallery, Panel, Series, plotly_spec
from recbole_diffusion.pages.ranking import Ranking
from recbole_diffusion.pages.swatch import swatch
from recbole_diffusion.pages.tables import BETTER, QUOTED, WORSE, Table

# By this a page is known as one that may be written anew.
GENERATOR = '<meta name="generator" content="recbole_diffusion">'
MARKS = {
    BETTER: "significantly better than the best baseline",
    WORSE: "significantly worse than the best baseline",
    QUOTED: "as the paper reports it",
}


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        key: In links.
        title: A word or two.
        tables: Printed first.
        gallery: Figures after them; what is missing is told at their end.
    """

    key: str
    title: str
    tables: Sequence[Table]
    gallery: Gallery


def page(
    title: str,
    facts: Sequence[tuple[str, str]],
    command: str | None,
    sections: Sequence[Section],
    ranking: Ranking | None = None,
) -> str:
    """The whole document.

    Args:
        title: Of the page.
        facts: Name and value, printed under the title.
        command: That gives the numbers, if there is one.
        sections: Those without content are left out.
        ranking: A picture that the page begins with.
    """
    filled = [s for s in sections if s.tables or s.gallery.figures or s.gallery.missing]
    return _template().render(
        title=title,
        facts=facts,
        command=command,
        sections=filled,
        ranking=ranking,
        marks=MARKS,
        generator=GENERATOR,
        plotly=get_plotlyjs() if any(s.gallery.figures for s in filled) else "",
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("recbole_diffusion", "pages"),
        # The style and the script of the page are ours, and included as they are.
        autoescape=lambda name: name == "page.html.jinja",
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "legend": _legend,
        "numeric": _is_numeric,
        "spec": _json_spec,
        "swatch": swatch,
        "text": _text,
    }
    return environment.get_template("page.html.jinja")


def _json_spec(panel: Panel) -> str:
    """JSON of a plot that no browser takes for the end of a script."""
    return json.dumps(plotly_spec(panel), allow_nan=False).replace("<", "\\u003c")


def _legend(figure: Figure) -> list[Series]:
    """The first series of each name in a figure, by style."""
    found = {s.name: s for panel in figure.panels for s in reversed(panel.series)}
    return sorted(found.values(), key=lambda series: series.style)


def _is_numeric(table: pd.DataFrame) -> list[bool]:
    return [pd.api.types.is_numeric_dtype(table[name]) for name in table]


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)

"""A page that stands alone: tables, figures with their data, style and plotly in one file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
from plotly.offline import get_plotlyjs

from recbole_diffusion.pages.figure import Figure, Gallery, Panel, plotly_spec
from recbole_diffusion.pages.swatch import swatch
from recbole_diffusion.pages.tables import BETTER, QUOTED, WORSE, Entry, Table

HERE = Path(__file__).parent
MARKS = {
    BETTER: "significantly better than the best baseline",
    WORSE: "significantly worse than the best baseline",
    QUOTED: "as the paper reports it",
}
# Nothing is fetched, whatever stands in the page.
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"


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
) -> str:
    """The whole document.

    Args:
        title: Of the page.
        facts: Name and value, printed under the title.
        command: That gives the numbers, if there is one.
        sections: Those without content are left out.
    """
    shown = [s for s in sections if s.tables or s.gallery.figures or s.gallery.missing]
    listed = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts)
    if command is not None:
        told = f"<dt>Command</dt><dd><code>{escape(command)}</code></dd>"
        listed += f'<div class="wide">{told}</div>'
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{escape(title)}</title>",
        '<link rel="icon" href="data:,">',
        f"<style>{_part('page.css')}</style>",
        "</head>",
        "<body>",
        '<a class="skip" href="#content">Skip to the content</a>',
        f'<header><h1>{escape(title)}</h1><dl class="facts">{listed}</dl></header>',
        _contents(shown),
        '<main id="content" tabindex="-1">',
        "<noscript><p>The plots need JavaScript; the tables below them hold the same data."
        "</p></noscript>",
        *map(_section, shown),
        "</main>",
        f"<script>{get_plotlyjs()}</script>",
        f"<script>{_part('page.js')}</script>",
        "</body>",
        "</html>",
    ]
    return "\n".join(parts) + "\n"


def _part(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _contents(sections: Sequence[Section]) -> str:
    items = "".join(
        f'<li><a href="#{s.key}">{escape(s.title)}</a>{_figure_links(s.gallery.figures)}</li>'
        for s in sections
    )
    return f'<nav aria-labelledby="contents"><h2 id="contents">Contents</h2><ol>{items}</ol></nav>'


def _figure_links(figures: Sequence[Figure]) -> str:
    links = "".join(f'<li><a href="#{f.key}">{escape(f.title)}</a></li>' for f in figures)
    return f"<ul>{links}</ul>" if links else ""


def _section(section: Section) -> str:
    missing = "".join(
        f"<li><strong>{escape(m.title)}</strong>: {escape(m.reason)}.</li>"
        for m in section.gallery.missing
    )
    parts = [
        f'<section id="{section.key}" aria-labelledby="{section.key}-title">',
        f'<h2 id="{section.key}-title">{escape(section.title)}</h2>',
        *(_table(table, f"{section.key}-{n}") for n, table in enumerate(section.tables)),
        *map(_figure, section.gallery.figures),
        f'<h3>Not drawn</h3><ul class="missing">{missing}</ul>' if missing else "",
        "</section>",
    ]
    return "\n".join(parts)


def _table(table: Table, key: str) -> str:
    header, *rest = table.header
    columns = f'<th scope="col">{escape(header)}</th>' + "".join(
        f'<th scope="col" class="number">{escape(name)}</th>' for name in rest
    )
    rows = "".join(_row(row) for row in table.rows)
    notes = "".join(f"<p>{escape(note)}</p>" for note in table.notes)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-labelledby="{key}">'
        f'<table class="results"><caption id="{key}"><span>{escape(table.title)}</span></caption>'
        f"<thead><tr>{columns}</tr></thead><tbody>{rows}</tbody></table></div>"
        f'<div class="notes">{notes}</div>'
    )


def _row(row: Sequence[Entry]) -> str:
    first, *rest = row
    cells = "".join(f'<td class="number">{_entry(entry)}</td>' for entry in rest)
    return f'<tr><th scope="row">{_entry(first)}</th>{cells}</tr>'


def _entry(entry: Entry) -> str:
    text = escape(entry.text)
    if entry.is_best:
        text = f"<strong>{text}</strong>"
    if entry.mark:
        meaning = escape(MARKS[entry.mark])
        text += f'<abbr class="mark" title="{meaning}">{escape(entry.mark)}</abbr>'
    return text


def _figure(figure: Figure) -> str:
    key = escape(figure.key)
    panels = "".join(_panel(panel, figure, n) for n, panel in enumerate(figure.panels))
    source = f' <cite class="source">{escape(figure.source)}.</cite>' if figure.source else ""
    return "\n".join(
        [
            f'<figure id="{key}" aria-labelledby="{key}-title">',
            f'<h3 id="{key}-title">{escape(figure.title)}</h3>',
            _legend(figure),
            f'<div class="panels">{panels}</div>',
            f'<figcaption id="{key}-caption">{escape(figure.caption)}{source}</figcaption>',
            f"<details><summary>Data of this figure ({len(figure.table)} rows)</summary>",
            _data(figure.table, f"{key}-data", f"Data: {figure.title}"),
            "</details>",
            "</figure>",
        ]
    )


def _panel(panel: Panel, figure: Figure, number: int) -> str:
    title = f'<p class="panel-title">{escape(panel.title)}</p>' if panel.title else ""
    names = ", ".join(dict.fromkeys(series.name for series in panel.series))
    axes = f"{panel.y} against {panel.x}, " if panel.x else ""
    label = f"{figure.title}{': ' * bool(panel.title)}{panel.title}. Plot of {axes}for {names}."
    return (
        f'<div class="panel">{title}'
        f'<div class="plot" role="img" tabindex="0" aria-label="{escape(label)}" '
        f'aria-describedby="{escape(figure.key)}-caption" id="{escape(figure.key)}-{number}"></div>'
        f'<script type="application/json">{_json(plotly_spec(panel))}</script></div>'
    )


def _json(content: Any) -> str:
    """JSON that no browser takes for the end of a script."""
    return json.dumps(content, allow_nan=False).replace("<", "\\u003c")


def _legend(figure: Figure) -> str:
    """A switch for each name in the figure; none for a single name."""
    found = {s.name: s for panel in figure.panels for s in reversed(panel.series)}
    names = sorted(found, key=lambda name: found[name].style)
    if len(names) < 2:
        return ""
    items = "".join(
        f'<li><button type="button" aria-pressed="true" data-group="{escape(name)}">'
        f"{swatch(found[name])}{escape(name)}</button></li>"
        for name in names
    )
    return f'<ul class="legend" aria-label="Shown in this figure">{items}</ul>'


def _data(table: pd.DataFrame, key: str, caption: str) -> str:
    is_number = [pd.api.types.is_numeric_dtype(table[name]) for name in table]
    columns = "".join(
        f'<th scope="col"{_class(n)}>{escape(str(name))}</th>'
        for name, n in zip(table, is_number, strict=True)
    )
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td{_class(n)}>{escape(_text(value))}</td>"
            for value, n in zip(row, is_number, strict=True)
        )
        + "</tr>"
        for row in table.itertuples(index=False, name=None)
    )
    return (
        f'<div class="scroll data" role="region" tabindex="0" aria-labelledby="{key}">'
        f'<table><caption id="{key}"><span>{escape(caption)}</span></caption>'
        f"<thead><tr>{columns}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _class(is_number: bool) -> str:
    return ' class="number"' if is_number else ""


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)

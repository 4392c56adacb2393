"""The small pictures of a legend, drawn as plotly draws the series itself."""

from recbole_diffusion.pages.figure import N_STYLES, SYMBOLS, Series

DASH_LENGTHS = ("", "6 4", "2 3", "6 3 2 3", "9 4", "9 3 2 3", "", "6 4")
# Around the middle of a picture of 28 x 12.
MARKERS = {
    "circle": "M14 2.5a3.5 3.5 0 1 0 .01 0z",
    "square": "M10.8 2.8h6.4v6.4h-6.4z",
    "diamond": "M14 1.6l4.4 4.4-4.4 4.4-4.4-4.4z",
    "triangle-up": "M14 2l4.4 7.6H9.6z",
    "x": "M11 1.8l3 3 3-3 1.2 1.2-3 3 3 3-1.2 1.2-3-3-3 3-1.2-1.2 3-3-3-3z",
    "cross": "M12.9 1.8h2.2v3.1h3.1v2.2h-3.1v3.1h-2.2V7.1H9.8V4.9h3.1z",
    "triangle-down": "M14 10l4.4-7.6H9.6z",
    "star": "M14 1.2l1.4 3.1 3.4.4-2.5 2.3.7 3.4-3-1.7-3 1.7.7-3.4-2.5-2.3 3.4-.4z",
}
# Over a filled bar, in the colour of the page.
HATCHES = (
    "",
    "M2 12L12 0M10 12L20 0M18 12L28 0",
    "M0 0l10 12M8 0l10 12M16 0l10 12",
    "M2 12L12 0M10 12L20 0M18 12L28 0M0 0l10 12M8 0l10 12M16 0l10 12",
    "M0 3h28M0 9h28",
    "M7 0v12M14 0v12M21 0v12",
    "M0 6h28M7 0v12M14 0v12M21 0v12",
    "M5 6h2M13 6h2M21 6h2",
)


def swatch(series: Series) -> str:
    """SVG of a series' line, marker or bar, in its colour."""
    style = series.style % N_STYLES
    colour = f"var(--series-{style})"
    if series.kind == "bars":
        shapes = f'<path d="M0 0h28v12H0z" fill="{colour}"/>'
        shapes += f'<path d="{HATCHES[style]}" stroke="var(--paper)" fill="none"/>'
    else:
        shapes = f'<path d="{MARKERS[SYMBOLS[style]]}" fill="{colour}"/>'
        if series.kind != "points":
            dash = DASH_LENGTHS[style]
            shapes += (
                f'<path d="M0 6h28" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>'
            )
    return f'<svg viewBox="0 0 28 12" width="28" height="12" aria-hidden="true">{shapes}</svg>'

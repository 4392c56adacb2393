"""docs/performance.md and its picture, from ``growth.json`` (``growth.py --write``)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

from recbole_diffusion.base.files import written_whole
from recbole_diffusion.pages.tables import Entry, Table, as_markdown

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE, PICTURE = DOCS / "performance.md", DOCS / "pictures" / "growth.svg"
SOLVED = "solved, without gradients"
KINDS = {
    SOLVED: ("BSPM", "EASE", "GFCF", "IALS", "LinDiffRec", "LinDiffRec, local", "TurboCF"),
    "rows of users, and sequences": (
        *("DiffRec", "TDiffRec", "LDiffRec", "LTDiffRec", "LD4MRec"),
        *("PrefixDiff", "PrefixDiff, local", "SASRec", "GRU4Rec"),
    ),
    "embeddings and graphs": ("BPR", "LightGCN", "XSimGCL", "InfoDCL", "SimDiff"),
    "embeddings and features": ("VBPR", "BM3", "FREEDOM", "MGCN", "DiffMM"),
}
MARKERS = ("o", "s", "D", "^", "x", "P", "v", "*", "<")
DASHES = ("-", "--", ":", "-.")
SHORT = {
    "refused": "refused",
    "too large": "memory",
    "too long": "time",
    "not run": "not run",
    "failed": "failed",
}
EXPONENTS = ["exponent, 10^4 items", "exponent, items grow too"]
INTRODUCTION = """\
# What grows with your data

![Processor seconds of an epoch against train interactions](pictures/growth.svg)

Processor seconds of one thread, measured by `python benchmarks/growth.py` on made data with a
power law: users have 20 interactions on average, and the r-th item a share of them that falls as
r^(-3/4). Columns are interactions and items of the file, of which some four fifths train. Each
cell is one run with the model's defaults, in a process of its own that may take <MEMORY> GiB, on
two cores that other jobs used too: take differences below a factor of two for noise. An epoch
that took longer than 1 to <EPOCH> s, and a ranking longer than 1 to <RANKING> s, were measured in
part and scaled by the batches done; these have a tilde. Exponents are slopes of log seconds in
log train interactions, over the measured cells of the catalogue of 10^4 items and of the one that
grows with the interactions: two sizes give a slope without a check of its straightness. At 10^7
interactions a few steps of an epoch were measured.
LightGCN's stage before InfoDCL, SimDiff, L-DiffRec and LT-DiffRec is not in it (given vectors
stand for it); its epochs cost what LightGCN's do. Peaks hold some 390 MiB of packages.

## What grows how

- **Solved by a matrix of items** (EASE, LinDiffRec, TurboCF): about the same seconds for ten
  times the interactions. They hang on the items: cubes of them in seconds, squares in memory.
  LinDiffRec with `local_items` has neither ([its cost](models/lindiffrec.md#cost)).
- **Solved otherwise** (IALS, GF-CF, BSPM): in proportion to the interactions, and less.
- **Rows of users** (the DiffRec family, LD4MRec) **and sequences** (SASRec, GRU4Rec): in
  proportion to the users, so to the interactions at 20 a user. A user of DiffRec costs a multiple
  of the items, trained or ranked: with ten times of both the exponent is above 2.
- **Pairs and graphs** (BPR, LightGCN, XSimGCL, VBPR, BM3, FREEDOM, MGCN): faster than in
  proportion. There are more steps in an epoch, and each step updates all embeddings and convolves
  over the whole graph. With both in proportion to the data the exponent goes to 2; raise
  `train_batch_size` with your data.
- **InfoDCL** compares users that share an item before its first epoch, with popular items nearly
  all pairs of users: less than 2 s for 5,000 users, more than 30 s for 50,000.
- **DiffMM** trains its generators on all users before the batches of each epoch, and a user costs
  a multiple of the items.

## What to choose

- 10^5 interactions, 10^4 items: all run, an epoch within some 40 s.
- 10^6 interactions, 10^4 items: solved models take less than a minute, once; so does an epoch of
  BPR, SimDiff, L-DiffRec or FREEDOM. LightGCN and DiffRec are near a minute and a half; XSimGCL,
  MGCN, SASRec, GRU4Rec and LD4MRec take minutes an epoch on one thread: use several, a GPU, or
  larger batches.
- 10^7 interactions, 10^4 items, one thread: LinDiffRec, EASE and TurboCF take less than a minute;
  L-DiffRec, FlowCF, SimDiff and DiffRec take four to eleven minutes an epoch, BPR twenty, SASRec
  and GRU4Rec half an hour to three quarters. Graphs take hours at the default batch: each step
  convolves over all.
- 10^5 items and more: models with a matrix of items are refused for their memory, before they
  begin. An epoch of SimDiff, BPR or LightGCN stays below three minutes; DiffRec's takes twenty.
  LinDiffRec with `local_items` is the solved one; here it was not measured at that size.
"""
Cells = Mapping[tuple[str, Any], Mapping[str, Any]]


def write_page(results: Mapping[str, Any], labels: Iterable[str], sizes: Sequence[Any]) -> None:
    """Write the page and the picture.

    Args:
        results: ``limits`` and ``cells``.
        labels: Of all rows, measured or not.
        sizes: ``growth.SIZES``; the first and those with as many items are one catalogue, the first
            and those with a tenth of the interactions the other line.
    """
    by_size = {(size.interactions, size.items): size for size in sizes}
    cells = {
        (cell["label"], by_size[cell["size"]["interactions"], cell["size"]["items"]]): cell
        for cell in results["cells"]
    }
    lines = {
        "10^4 items": [size for size in sizes if size.items == sizes[0].items],
        "items grow too": [size for size in sizes if 10 * size.items == size.interactions],
    }
    draw(cells, lines)
    text = page_text(cells, list(labels), sizes, lines, results["limits"])
    with written_whole(PAGE) as stream:
        stream.write(text.encode())


def exponent(cells: Cells, label: str, sizes: Sequence[Any]) -> float | None:
    """Slope of log seconds in log train interactions; None with fewer than two sizes."""
    found = [
        cells[label, size] for size in sizes if "epoch_seconds" in cells.get((label, size), {})
    ]
    if len(found) < 2:
        return None
    logs = np.log([[cell["train"], cell["epoch_seconds"]] for cell in found])
    return float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])


# The page


def page_text(
    cells: Cells,
    labels: list[str],
    sizes: Sequence[Any],
    lines: Mapping[str, Sequence[Any]],
    limits: Mapping[str, Any],
) -> str:
    """Of the whole page; sizes without a cell have no column."""
    every_size = sizes
    sizes = [size for size in sizes if any((label, size) in cells for label in labels)]
    header = ["Model", *(f"{power(size.interactions)}, {power(size.items)}" for size in sizes)]
    epochs = [
        [
            Entry(label + (" (solved)" if label in KINDS[SOLVED] else "")),
            *(entry(cells, label, size, epoch_entry) for size in sizes),
            *(Entry(exponent_text(cells, label, line)) for line in lines.values()),
        ]
        for label in labels
    ]
    others = [
        [Entry(label), *(entry(cells, label, size, ranking_entry) for size in sizes)]
        for label in labels
    ]
    tables = [
        Table("Seconds of an epoch, or of the solution", [*header, *EXPONENTS], epochs, []),
        Table("Seconds of ranking for 5,000 users; peak MiB", header, others, []),
    ]
    caps = {
        "MEMORY": f"{limits['memory_gib']:g}",
        "EPOCH": f"{limits['epoch_seconds']:g}",
        "RANKING": f"{limits['ranking_seconds']:g}",
    }
    introduction = INTRODUCTION
    for name, value in caps.items():
        introduction = introduction.replace(f"<{name}>", value)
    reasons = "\n".join(reason_lines(cells, labels, every_size))
    text = as_markdown(tables).replace("### ", "## ")
    return f"{introduction}\n{text}\n## What has no number, and why\n\n{reasons}\n"


def power(value: int) -> str:
    """A power of ten."""
    return f"10^{len(str(value)) - 1}"


def entry(
    cells: Cells, label: str, size: Any, written: Callable[[Mapping[str, Any]], str]
) -> Entry:
    """One place: a measurement, a word for why there is none, or nothing."""
    cell = cells.get((label, size))
    return Entry("" if cell is None else written(cell))


def epoch_entry(cell: Mapping[str, Any]) -> str:
    """Seconds; a tilde before what was scaled."""
    if "epoch_seconds" not in cell:
        return SHORT[cell["status"]]
    return seconds_text(cell["epoch_seconds"], cell["epoch_share"])


def ranking_entry(cell: Mapping[str, Any]) -> str:
    """Seconds and MiB."""
    if "ranking_seconds" not in cell:
        return SHORT[cell["status"]]
    seconds = seconds_text(cell["ranking_seconds"], cell["ranking_share"])
    return f"{seconds}; {cell['peak_mib']}"


def seconds_text(seconds: float, share: float) -> str:
    """Two digits."""
    digits = f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.2g}"
    return ("~" if share < 1 else "") + digits


def exponent_text(cells: Cells, label: str, line: Sequence[Any]) -> str:
    """Two digits, or nothing."""
    found = exponent(cells, label, line)
    return "" if found is None else f"{found:.2f}"


def reason_lines(cells: Cells, labels: list[str], sizes: Sequence[Any]) -> list[str]:
    """A line for each cell that is not whole, and one for all that were not measured."""
    found = []
    for size in sizes:
        at = f"{power(size.interactions)}, {power(size.items)}"
        for label in labels:
            cell = cells.get((label, size))
            if cell is not None and cell["status"] != "measured":
                reason = " ".join(cell["reason"].split())
                found.append(f"- {label} at {at}: {cell['status']}: {reason}")
        missing = [label for label in labels if (label, size) not in cells]
        if missing:
            words = "; ".join(missing) if len(missing) < len(labels) else "all models"
            found.append(f"- Not measured at {at}: {words}.")
    return found


# The picture


def draw(cells: Cells, lines: Mapping[str, Sequence[Any]]) -> None:
    """Epoch seconds by train interactions, a column a kind and a row a line of sizes."""
    mpl.rcParams.update({"svg.hashsalt": "growth", "font.size": 8, "font.family": "sans-serif"})
    shape = {"figsize": (11, 6.2), "sharex": True, "sharey": True, "layout": "constrained"}
    figure, panels = plt.subplots(2, len(KINDS), **shape)
    most = max(cell.get("train", 0) for cell in cells.values())
    for column, (kind, labels) in enumerate(KINDS.items()):
        for row, (words, sizes) in enumerate(lines.items()):
            panel = panels[row, column]
            for number, label in enumerate(labels):
                draw_line(panel, cells, label, number, sizes)
            panel.set(xscale="log", yscale="log", xlim=(5e4, 2e6 if most < 2e6 else 2e7))
            panel.minorticks_off()
            panel.grid(color="#d5d9dd", linewidth=0.5)
            panel.spines[["top", "right"]].set_visible(False)
            panel.set_title(f"{kind}; {words}" if row == 0 else words, fontsize=8)
        panels[1, column].set_xlabel("train interactions")
        handles, names = panels[0, column].get_legend_handles_labels()
        panels[1, column].legend(
            handles,
            names,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.2),
            ncols=2,
            frameon=False,
            fontsize=7,
        )
    for panel in panels[:, 0]:
        panel.set_ylabel("processor seconds")
    PICTURE.parent.mkdir(exist_ok=True)
    # On white, so that it can be read on a dark page too.
    figure.savefig(PICTURE, metadata={"Date": None}, facecolor="white")
    plt.close(figure)


def draw_line(panel: Any, cells: Cells, label: str, number: int, sizes: Sequence[Any]) -> None:
    """One model; a model without a measurement keeps its place in the legend."""
    found = [
        cells[label, size] for size in sizes if "epoch_seconds" in cells.get((label, size), {})
    ]
    panel.plot(
        [cell["train"] for cell in found],
        [cell["epoch_seconds"] for cell in found],
        label=label,
        color=f"C{number}",
        marker=MARKERS[number % len(MARKERS)],
        linestyle=DASHES[number % len(DASHES)],
        markersize=4,
        linewidth=1.2,
    )

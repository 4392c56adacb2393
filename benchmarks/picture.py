"""The README's picture, from the committed results: ``python benchmarks/picture.py``.

On each data set: our two models, EASE, and the best of the papers' models and of all baselines.
"""

from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt

from recbole_diffusion.studies.compare.reproduction import joined_results

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "pictures" / "results.svg"
METRIC = "recall@20"
TITLES = {
    "office": "Amazon-Office",
    "tiktok": "TikTok",
    "ml-1m_clean": "ML-1M clean",
    "microlens, in time order": "MicroLens",
}
PAPERS = (
    *("DiffRec", "TDiffRec", "LDiffRec", "LTDiffRec", "LD4MRec", "SimDiff", "DiffMM", "InfoDCL"),
)
# Rivals that LinDiffRec's settings make on some data sets, and what these learn from.
BY_SETTINGS = {
    "EASE-recency": {"interactions", "order"},
    "EASE-features": {"interactions", "features"},
}
OURS = ("PrefixDiff", "LinDiffRec")
COLOURS = {"ours": "#0b6e99", "papers": "#d9822b", "baseline": "#7d8793"}


def bars_of(results: dict) -> list[tuple[str, float, str]]:
    """Name, mean on test and kind of each bar, the best first."""
    models = {row["name"]: row for row in results["models"] if row["test"]}
    means = {name: row["test"][METRIC]["mean"] for name, row in models.items()}
    baselines = [n for n, row in models.items() if row["role"] == "baseline" or n in BY_SETTINGS]
    shown = {name: "ours" for name in OURS if name in means}
    shown[max(set(PAPERS) & set(means), key=means.__getitem__)] = "papers"
    shown |= dict.fromkeys(["EASE", max(baselines, key=means.__getitem__)], "baseline")
    return sorted(((name, means[name], kind) for name, kind in shown.items()), key=lambda b: b[1])


def main() -> None:
    """Write the picture."""
    results = joined_results(sorted((ROOT / "benchmarks" / "results").glob("*.json")))
    mpl.rcParams.update({"svg.hashsalt": "results", "font.size": 9, "font.family": "sans-serif"})
    figure, panels = plt.subplots(1, 4, figsize=(11, 2.1), layout="constrained")
    for panel, (name, title) in zip(panels, TITLES.items(), strict=True):
        bars = bars_of(results[name])
        labels, values, kinds = zip(*bars, strict=True)
        drawn = panel.barh(labels, values, color=[COLOURS[kind] for kind in kinds], height=0.7)
        panel.bar_label(drawn, [f"{value:.3f}".lstrip("0") for value in values], padding=2)
        panel.set(title=title, xlim=(0, 1.25 * max(values)))
        panel.spines[["top", "right", "bottom"]].set_visible(False)
        panel.tick_params(bottom=False, labelbottom=False, left=False)
    legend = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in COLOURS.values()]
    texts = ["of this package", "best of the papers' models", "EASE, and the best other baseline"]
    figure.legend(legend, texts, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle("Recall@20 on test, all items ranked", fontsize=10)
    TARGET.parent.mkdir(exist_ok=True)
    figure.savefig(TARGET, metadata={"Date": None}, facecolor="white")


if __name__ == "__main__":
    main()

"""docs/study.md, what diffusion buys, from committed results: ``python benchmarks/study.py``.

Reads the results of the reproduction page (``results/*.json``) and those made for the study
(``results/study/*.json``); nothing is run.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import study_tables as tables
from matplotlib import pyplot as plt
from matplotlib.transforms import Bbox
from picture import COLOURS, PAPERS
from study_numbers import (
    NOT_SEARCHED,
    OURS,
    Results,
    Row,
    at_random,
    has_all,
    is_plain,
    peaks_of,
    rows_of,
    seconds_of,
    seeds_text,
    times_of,
    value,
)

from recbole_diffusion.studies.compare.reproduction import joined_results
from recbole_diffusion.studies.compare.tables import training_seconds

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
TARGET = ROOT / "docs" / "study.md"
PICTURES = ROOT / "docs" / "pictures"
# Data sets with fewer rows have no panel.
LEAST_MODELS = 8
HEIGHTS = [(2, "bottom"), (0, "center"), (-2, "top")]
HEIGHTS += [(side * shift, at) for shift in (9, 16) for side, at in ((1, "bottom"), (-1, "top"))]
# Where a name may stand beside its point: shift, and which side of the text is there.
PLACES = [
    ((4 * x, y), {1: "left", 0: "center", -1: "right"}[x], height)
    for y, height in HEIGHTS
    for x in (1, -1, 0)
    if x or y
]


def page(joined: Mapping[str, Results], files: list[Results]) -> str:
    """The whole page."""
    shared = {name: r for name, r in joined.items() if "LinDiffRec" in rows_of(r)}
    each = {**shared, **at_random(files)}
    with_and_without, told = tables.diffusion_part(files)
    sections = [
        *_beginning(each, shared, files, told),
        *_diffusion(shared, files, with_and_without),
        *_knowledge(shared),
        *_kinds(shared, files),
        *_costs(shared, each),
        *_protocol(joined, each, files),
        *_commands(files),
    ]
    return "\n".join(sections)


def _beginning(
    each: Mapping[str, Results], shared: Mapping[str, Results], files: list[Results], told: str
) -> list[str]:
    alone = tables.without_sequential(shared)
    beside = [f"  No rival that reads sequences has run on {' and '.join(alone)}."] if alone else []
    return [
        "# What diffusion buys",
        "",
        "Written by `python benchmarks/study.py` from the committed results; not edited by hand.",
        "",
        f"{tables.METRIC_NAME} on test, all items ranked; the best epoch is picked on validation.",
        f"A value with {NOT_SEARCHED} is of a model whose settings were not searched here, which",
        "favours a searched one beside it; tables of the defaults say so and have no mark. ± is",
        "the standard deviation over seeds, which draw first weights and batches, not the split:",
        "models that are solved have none, nor have single runs. Differences are of unrounded",
        "values. Empty cells: not run; in the tables of knowledge (sections 2 and 3), nothing of",
        "the kind in the data. How each split is made stands in section 6. The",
        "[reproduction](reproduction.md) has each row's trials, seeds and command, and tests which",
        "differences within a comparison are significant over users.",
        "",
        "- **The papers' models**: the eight of the five papers that this package began with,",
        "  DiffRec to InfoDCL ([all models](models/index.md)).",
        "- **Ours**: [LinDiffRec](models/lindiffrec.md), linear diffusion of a user's row (a 1",
        "  for each item met, else 0), solved at once, without epochs. Noise is added in steps; a",
        "  reverse step takes some of it out again, by the linear denoiser that is best at that",
        "  step's noise, `x_{t-1} = x_t B_t + r (x_t - x_t B_t)`; the last gives `x_1 B_1`. One",
        "  step is EASE's form: items that users have together. Two reach, from A, a C that goes",
        "  with what goes with A.",
        "  [PrefixDiff](models/prefixdiff.md) is a network that learns to give back the latest",
        "  items of a history, of which a smaller or greater share has vanished: the level of its",
        "  diffusion. It adds what it learns to LinDiffRec's scores. It needs the order of a",
        "  history; through LinDiffRec's scores it knows features, where there are any.",
        "- **Rivals**: all others, the diffusion models of further papers (GiffCF, BSPM) among",
        "  them. `NAME-recency` weighs a history's items by age, `EASE-features` reads features as",
        "  further rows.",
        f"- **Level**: closer than {tables.LEVEL}, without a test.",
        "",
        "What a model can know: interactions alone, features of items, and order, which times",
        "tell. Recency is one use of order: a weight that falls with age.",
        "",
        "## In short",
        "",
        *tables.which_model(each),
        "",
        "Each with its time to train on one thread of a processor, other jobs beside: orders of",
        "magnitude, and a GPU makes networks faster. The best rival is the best on test. So:",
        "",
        "- Begin with LinDiffRec, with your items' texts, images or sounds and your times, if you",
        f"  have them. It takes {times_of(each, OURS[:1])} and {peaks_of(each, OURS[:1])}; the",
        f"  papers' models take {times_of(each, PAPERS)} and {peaks_of(each, PAPERS)}.",
        "- With interactions alone LinDiffRec is "
        f"{tables.beside_best_rival(shared, {'interactions'})}.",
        "- With features and no order it is "
        f"{tables.beside_best_rival(shared, {'interactions', 'features'})}.",
        *tables.sequential_ahead(shared),
        "- So if you ask for what each user takes next, and know the order, try PrefixDiff, which",
        f"  takes {times_of(each, OURS[1:])} and {peaks_of(each, OURS[1:])}.",
        *beside,
        "- If one date divides what you learn from and what you recommend for, as in a service",
        "  that trains now and then, look at one cut in time (section 6):",
        f"  {tables.under_one_cut(files)}.",
        f"- On {tables.who_leads(each)} of these rows where models of the papers ran, LinDiffRec",
        "  or PrefixDiff is ahead of those that did: not all ran everywhere, and those with ° were",
        "  not searched.",
        "- What diffusion buys the papers' models, by their defaults: with it a model is",
        f"  {told}. This is ml-100k at random alone (section 1). The number of steps",
        f"  decides too: {tables.steps_sentence(files)}",
        f"- What it buys ours: LinDiffRec's second step "
        f"{tables.own_gain(shared, files, 'LinDiffRec')}, without a test; five",
        "  steps lose it again on ml-100k at random, by the other defaults (section 4).",
        "  PrefixDiff's levels and LinDiffRec's scores, together,",
        f"  {tables.own_gain(shared, files, 'PrefixDiff')} (section 1).",
        "- What recency, features and normalisation are worth: section 3.",
        "",
    ]


def _diffusion(
    shared: Mapping[str, Results], files: list[Results], with_and_without: list[str]
) -> list[str]:
    seeds = " and ".join(dict.fromkeys(seeds_text(r) for r in filter(has_all, files)))
    return [
        "## 1. With and without the diffusion part",
        "",
        f"The papers' models, by their defaults, {seeds}. Without: DiffRec and LDiffRec",
        "without noise and weights of steps and with one step, which leaves the autoencoder;",
        "LD4MRec with a millionth of its noise and one step; SimDiff and InfoDCL by",
        "`use_diffusion: false`; DiffMM without generated graphs and their contrast. Welch's test",
        "of the means. Each interval stands alone; p is corrected by Holm for all pairs, and the",
        "verdict follows p. So few seeds settle only differences that are large beside what seeds",
        "do. TDiffRec and LTDiffRec are DiffRec and LDiffRec with weights by age, and need times.",
        "",
        *with_and_without,
        "",
        tables.steps_sentence(files),
        "",
        "Ours: LinDiffRec with two reverse steps and with one, both searched where LinDiffRec is;",
        "it is solved, so seeds tell nothing. With one step it is a linear denoiser, EASE's form,",
        "and there is no chain. PrefixDiff learns to give back the latest items of a history, one",
        "of them or up to all; `next-item` is trained to tell each item of a history from those",
        "before it, as SASRec is, and has no scores of LinDiffRec to add to: the difference is of",
        "both together. What each brings by itself stands in [its",
        "parts](models/prefixdiff.md#each-part-off). p is Welch's.",
        "",
        *tables.own_part(shared, files),
        "",
        "## 2. Models beside others that know no more",
        "",
        "LinDiffRec has here what the model has, and no more: features, order or neither. The best",
        "rival is the best on test of those that learn from no more.",
        *["No rival that has run knows both features and order."]
        * tables.no_rival_knows(shared, {"features", "order"}),
        "",
        *tables.beside_rivals(shared),
        "",
        "LinDiffRec by what it knows, and the best rival that knows no more; which rivals have run",
        "on each of the data stands in section 5.",
        "",
        *tables.by_knowledge(shared),
        "",
        *tables.diffusion_rivals(shared),
    ]


def _knowledge(shared: Mapping[str, Results]) -> list[str]:
    return [
        "## 3. What knowledge is worth",
        "",
        f"Change of LinDiffRec's {tables.METRIC_NAME} without a part. Each row is searched at",
        f"least as long as LinDiffRec is on that data set; {NOT_SEARCHED}: neither is.",
        "Normalisation is no knowledge, and stands here for its size. What order brings beyond",
        "recency, and a network instead of a linear model, is what PrefixDiff is ahead of",
        "LinDiffRec in section 5. Parts overlap: what each brings beside the others stands here,",
        "by itself it stands in section 2.",
        "",
        *tables.knowledge_worth(shared),
        "",
    ]


def _kinds(shared: Mapping[str, Results], files: list[Results]) -> list[str]:
    lines = [
        "## 4. Kinds of users and data, and steps",
        "",
        "Ours, the best of the papers' models and the best rival, in groups of",
        f"{tables.LEAST_USERS} users with test items and more. Where a share of each history is",
        "held out, users with long histories have more test items than 20 recommendations can",
        "hold, so their recall is lower. Which users the diffusion part itself helps was not",
        "measured.",
        *tables.by_activity(shared),
        "",
        "TikTok's most active users have 350 train rows and more, all others five at most. Their",
        "test items are among the rarest: these models have none among their first 20.",
        "",
        "Below, models have their defaults, but for what a command names; `-none` is a model",
        "without its diffusion part.",
    ]
    for title, found in (
        (
            "A random share of the train part of ml-100k (at random), the rest as it was:",
            tables.by_share(files),
        ),
        (
            "Random interactions added to the train part of ml-100k (at random):",
            tables.by_noise(files),
        ),
        ("Number of steps, ml-100k (at random):", tables.by_steps(files)),
        (
            "Items of Office without any train interaction, known by their texts "
            f"([cold items](cold_items.md#figures)), {tables.METRIC_NAME} of these items. "
            "`nearest` recommends the items whose texts are nearest to the history's: LinDiffRec "
            "with one step and so great a penalty that a score is a sum of likenesses:",
            tables.of_cold_items(files),
        ),
    ):
        lines += ["", title, "", *found] if found else []
    return [*lines, ""]


def _costs(shared: Mapping[str, Results], each: Mapping[str, Results]) -> list[str]:
    return [
        "## 5. Cost",
        "",
        "![Accuracy against seconds of training](pictures/study.svg)",
        "",
        "Blue: ours; orange: the papers'; grey: rivals. The line joins the models that no other",
        "one beats in both time and accuracy:",
        "",
        *_on_the_front(each),
        "",
        "Models whose times differ by less than a factor of three may change places there. A",
        f"search is not in the time; a model's longest took {tables.searches(shared)}.",
        "",
        "What ranking takes stands in [What grows with your data](performance.md). Energy was not",
        "measured: the machine has no counters. PrefixDiff's time has LinDiffRec's in it; it",
        f"trains {tables.epochs_of(shared)}.",
        "",
        f"{tables.METRIC_NAME}, time to train, peak memory of the process (some 400 MiB of it are",
        "imports):",
        "",
        *tables.costs(each),
        "",
    ]


def _protocol(
    joined: Mapping[str, Results], each: Mapping[str, Results], files: list[Results]
) -> list[str]:
    return [
        "## 6. Protocol",
        "",
        *tables.splits(each, files),
        "",
        "The same interactions, split in other ways; as many seeds as the commands tell.",
        "ML-1M as released (`ml-1m_clean`) tests on the items right after the train part and",
        "validates on later ones ([which part follows",
        "which](models/prefixdiff.md#which-part-follows-which)): models that are trained to tell",
        "the next items gain most there. One cut in time for all users is what a service has that",
        "learns up to a date and recommends for the days after it.",
        "",
        *tables.by_protocol(joined, files),
        *tables.chosen_on_test(RESULTS / "chosen_on_test"),
        "",
    ]


def _commands(files: list[Results]) -> list[str]:
    runnable = [r["command"] for r in files if r["command"] and not tables.has_cold(r)]
    has_shares = any("train_share" in results for results in files)
    return [
        "## Commands",
        "",
        "Those of sections 1, 4 and 6 that the [reproduction](reproduction.md) lacks, and of the",
        "[table of PrefixDiff's parts](models/prefixdiff.md#each-part-off):",
        "",
        "```bash",
        *dict.fromkeys(runnable),
        *["python benchmarks/subsets.py --write"] * has_shares,
        "python benchmarks/chosen_on_test.py --write",
        "python benchmarks/study.py",
        "```",
        "",
    ]


def front(rows: Mapping[str, Row]) -> set[str]:
    """Models that none is both faster and better than."""
    return {
        name
        for name, row in rows.items()
        if not any(
            value(other) > value(row) and training_seconds(other) < training_seconds(row)
            for other in rows.values()
        )
    }


def _timed(rows: Mapping[str, Row]) -> dict[str, Row]:
    """Plain models whose time to train was kept."""
    return {
        name: row
        for name, row in rows.items()
        if is_plain(name, row) and seconds_of(row) is not None
    }


def _on_the_front(joined: Mapping[str, Results]) -> list[str]:
    """The models of each data set that the picture joins, the fastest first."""
    rows = []
    for dataset, results in joined.items():
        found = _timed(rows_of(results))
        best = sorted(front(found), key=lambda name, rows=found: training_seconds(rows[name]))
        rows.append([dataset, ", ".join(best)])
    return tables.table(("data", "on the line, the fastest first"), rows, 2)


def cost_picture(joined: Mapping[str, Results]) -> None:
    """Accuracy against training time on each data set; the front is joined."""
    mpl.rcParams.update({"svg.hashsalt": "study", "font.size": 9, "font.family": "sans-serif"})
    n_rows = -(-len(joined) // 2)
    figure, panels = plt.subplots(n_rows, 2, figsize=(10, 4.4 * n_rows), layout="constrained")
    drawn = {}
    for panel, (dataset, results) in zip(panels.flat, joined.items(), strict=False):
        drawn[panel] = _draw(panel, rows_of(results))
        panel.set(title=dataset, xlabel="seconds of training", ylabel=tables.METRIC_NAME)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in panels.flat[len(joined) :]:
        panel.set_visible(False)
    figure.canvas.draw()  # names are placed where the points end up
    for panel, points in drawn.items():
        _name(panel, points)
    figure.savefig(PICTURES / "study.svg", metadata={"Date": None}, facecolor="white")


def _draw(panel: plt.Axes, models: Mapping[str, Row]) -> dict[str, tuple[float, float]]:
    """Draw a point of each model; gives them by name, those on the front first."""
    timed = _timed(models)
    points = {name: (training_seconds(row), value(row)) for name, row in timed.items()}
    best = sorted(front(timed), key=lambda name: points[name])
    panel.plot(*zip(*(points[n] for n in best), strict=True), color="#9aa5ad", lw=1, zorder=0)
    panel.set_xscale("log")
    panel.margins(x=0.18, y=0.08)
    for name, point in points.items():
        panel.scatter(*point, s=18, color=_colour(name))
    return {name: points[name] for name in dict.fromkeys([*best, *points])}


def _name(panel: plt.Axes, points: Mapping[str, tuple[float, float]]) -> None:
    """Write each name beside its point, if there is a place where it meets no other."""
    centres = panel.transData.transform(list(points.values()))
    taken = [Bbox.from_bounds(x - 3, y - 3, 6, 6) for x, y in centres]
    for name, point in points.items():
        text = None
        for shift, side, height in PLACES:
            if text:
                text.remove()
            text = panel.annotate(
                *(name, point, shift),
                textcoords="offset points",
                ha=side,
                va=height,
                fontsize=6.5,
                color=_colour(name),
            )
            if not text.get_window_extent().count_overlaps(taken):
                break
        taken.append(text.get_window_extent())


def _colour(name: str) -> str:
    return COLOURS["ours" if name in OURS else "papers" if name in PAPERS else "baseline"]


def main() -> None:
    """Write the page and its picture."""
    joined = joined_results(sorted(RESULTS.glob("*.json")))
    files = [json.loads(path.read_text()) for path in sorted((RESULTS / "study").glob("*.json"))]
    TARGET.write_text(page(joined, files), encoding="utf-8")
    cost_picture({name: r for name, r in joined.items() if len(rows_of(r)) >= LEAST_MODELS})


if __name__ == "__main__":
    main()

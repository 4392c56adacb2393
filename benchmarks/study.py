"""docs/study.md, what diffusion buys, from committed results: ``python benchmarks/study.py``.

Reads the results of the reproduction page (``results/*.json``) and those made for the study
(``results/study/*.json``); nothing is run.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from picture import METRIC, PAPERS
from scipy import stats

from recbole_diffusion.pages.tables import metric_name
from recbole_diffusion.studies.compare.reproduction import joined_results
from recbole_diffusion.studies.compare.tables import knowledge_of, training_seconds

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
TARGET = ROOT / "docs" / "study.md"
PICTURES = ROOT / "docs" / "pictures"
METRIC_NAME = metric_name(METRIC)
CONTROL = "-none"
OURS = ("LinDiffRec", "PrefixDiff")
# Of LinDiffRec: what a row leaves out.
PARTS = {
    "no-features": "item features",
    "no-recency": "recency of the history",
    "no-normalisation": "normalisation by length and popularity",
    "one-step": "the second reverse step",
}
# What the data are, for who looks for data like their own.
DATA = {
    "office": "purchases, some eight a user; texts of items",
    "tiktok": "videos watched, some six a user; images and sounds",
    "microlens, in time order": "videos watched, some seven a user; titles, times",
    "ml-1m_clean": "ratings of films, some seventy a user; titles and genres, times",
    "ml-1m_clean-in-order": "the same, the latest held out last",
    "ml-100k, in time order": "ratings of films, some hundred a user; titles, genres, times",
}
# Smaller deviations are 0 as they are printed.
LEAST_SHOWN = 5e-5
# Fewer users than this say nothing of a group.
LEAST_USERS = 30
Results = Mapping[str, Any]


def rows_of(results: Results) -> dict[str, Any]:
    """Models that have run, by name."""
    return {model["name"]: model for model in results["models"] if model["test"]}


def value(model: Mapping[str, Any]) -> float:
    """Mean of the metric on test."""
    return model["test"][METRIC]["mean"]


def interval(with_it: Mapping[str, Any], without: Mapping[str, Any]) -> tuple[float, float]:
    """Of the difference of two means over seeds: Welch's 95 % interval; NaN for one seed."""
    spreads = [model["test"][METRIC] for model in (with_it, without)]
    if any((spread["n"] or 0) < 2 for spread in spreads):
        return (np.nan, np.nan)
    parts = [spread["std"] ** 2 / spread["n"] for spread in spreads]
    difference, error = value(with_it) - value(without), np.sqrt(sum(parts))
    if error == 0:
        return (difference, difference)
    freedom = sum(parts) ** 2 / sum(
        part**2 / (spread["n"] - 1) for part, spread in zip(parts, spreads, strict=True)
    )
    reach = stats.t.ppf(0.975, freedom) * error
    return (difference - reach, difference + reach)


def pairs(files: Iterable[Results]) -> list[tuple[str, str, Any, Any]]:
    """Data set, name, model and control of each comparison that has both."""
    found = []
    for results in filter(has_all, files):
        rows = rows_of(results)
        found += [
            (results["dataset"], name, rows[name], rows[name + CONTROL])
            for name in rows
            if name + CONTROL in rows
        ]
    return found


def has_all(results: Results) -> bool:
    """Whether a comparison has all models of the papers, and not one of the studies below."""
    return {"LD4MRec", "LDiffRec"} <= rows_of(results).keys()


def verdict(low: float, high: float) -> str:
    """What an interval of a difference says."""
    if np.isnan(low):
        return "one seed"
    return "better" if low > 0 else "worse" if high < 0 else "no clear difference"


def diffusion_part(files: list[Results]) -> tuple[list[str], str]:
    """The table of models with and without their diffusion part, and a sentence of it."""
    lines = table_head("data", "model", "with", "without", "difference", "95 %", "with it")
    said: list[str] = []
    for dataset, name, model, control in pairs(files):
        low, high = interval(model, control)
        said.append(verdict(low, high))
        difference = value(model) - value(control)
        lines.append(
            f"| {dataset} | {name} | {value(model):.4f} | {value(control):.4f} | "
            f"{difference:+.4f} | {low:+.4f} to {high:+.4f} | {said[-1]} |"
        )
    counts = {word: said.count(word) for word in ("better", "worse", "no clear difference")}
    told = ", ".join(f"{word} in {n}" for word, n in counts.items())
    return lines, f"Of {len(said)} pairs of a paper's model with and without its diffusion: {told}."


def which_model(joined: Mapping[str, Results]) -> list[str]:
    """On each data set: our models, and the best of the papers' models and of the rivals."""
    lines = table_head("data", *OURS, "best of the papers' models", "best rival")
    for dataset, results in joined.items():
        rows = rows_of(results)
        cells = [
            *(rows.get(name) for name in OURS),
            best_of_papers(rows),
            best_baseline(rows),
        ]
        first = f"{dataset}: {DATA[dataset]}"
        lines.append(f"| {first} | {' | '.join(with_cost(row) for row in cells)} |")
    return lines


def with_cost(row: Mapping[str, Any] | None) -> str:
    """A model's name where its column does not tell it, metric and time."""
    if row is None:
        return ""
    told = value_and_time(row, ".4f")
    return told if row["name"] in OURS else f"{row['name']} {told}"


def value_and_time(row: Mapping[str, Any], form: str) -> str:
    """Metric, and time to train where it was kept."""
    seconds = seconds_of(row)
    metric = format(value(row), form)
    return metric if seconds is None else f"{metric}, {time_text(seconds)}"


def seconds_of(row: Mapping[str, Any]) -> float | None:
    """Time to train; None of a solved model whose time was not kept."""
    measured = row["costs"]
    is_solved = measured.get("epochs_trained", {"mean": 0})["mean"] <= 1
    return None if is_solved and "setup_seconds" not in measured else training_seconds(row)


def time_text(seconds: float) -> str:
    """A time in the unit that suits it."""
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 1 else "1 s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def costs(joined: Mapping[str, Results]) -> list[str]:
    """Metric, time and memory of each model on each data set."""
    names = list(dict.fromkeys(name for results in joined.values() for name in rows_of(results)))
    names = [name for name in names if any(is_plain(name, results) for results in joined.values())]
    lines = table_head("model", *joined)
    for name in names:
        cells = []
        for results in joined.values():
            row = rows_of(results).get(name)
            if row is None:
                cells.append("")
                continue
            memory = row["costs"].get("peak_memory_mb", {}).get("mean")
            peak = f", {memory:.0f} MiB" if memory else ""
            cells.append(value_and_time(row, ".3f") + peak)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def is_plain(name: str, results: Results) -> bool:
    """Whether a row is a model itself, or a baseline told of the order."""
    row = rows_of(results).get(name)
    if row is None:
        return False
    model = row["model"].rpartition(".")[2]
    return name in (model, f"{model}-recency")


def beside_rivals(joined: Mapping[str, Results]) -> list[str]:
    """Each paper's model beside ours and the best rival that knows no more."""
    head = "best rival that learns from no more than the model"
    lines = table_head("data", "model", METRIC_NAME, *OURS, head, "its value")
    for dataset, results in joined.items():
        rows = rows_of(results)
        ours = " | ".join(f"{value(rows[name]):.4f}" if name in rows else "" for name in OURS)
        for name in (name for name in PAPERS if name in rows):
            rival = best_baseline(rows, known(rows[name]))
            lines.append(
                f"| {dataset} | {name} | {value(rows[name]):.4f} | {ours} | {rival['name']} | "
                f"{value(rival):.4f} |"
            )
    return lines


def known(model: Mapping[str, Any]) -> set[str]:
    """What a model learns from."""
    return set(knowledge_of(model).split(", "))


def best_baseline(rows: Mapping[str, Any], knows: set[str] | None = None) -> Mapping[str, Any]:
    """The best baseline, or the best whose knowledge is a part of this."""
    baselines = [row for row in rows.values() if row["role"] == "baseline"]
    return max((row for row in baselines if knows is None or known(row) <= knows), key=value)


def knowledge_worth(joined: Mapping[str, Results]) -> list[str]:
    """What LinDiffRec loses without each part, and what an order adds."""
    lines = table_head("left out", *joined)
    for name, part in PARTS.items():
        cells = []
        for results in joined.values():
            rows = rows_of(results)
            has_both = name in rows and "LinDiffRec" in rows
            cells.append(
                f"{value(rows[name]) - value(rows['LinDiffRec']):+.4f}" if has_both else ""
            )
        lines.append(f"| {part} | {' | '.join(cells)} |")
    cells = []
    for results in joined.values():
        rows = rows_of(results)
        cells.append(
            f"{value(rows['LinDiffRec']) - value(rows['PrefixDiff']):+.4f}"
            if {"LinDiffRec", "PrefixDiff"} <= rows.keys()
            else ""
        )
    lines.append(f"| PrefixDiff's network: LinDiffRec in its place | {' | '.join(cells)} |")
    return lines


def by_activity(joined: Mapping[str, Results]) -> list[str]:
    """The best of the papers' models, LinDiffRec and the best baseline by users' activity."""
    lines = []
    for dataset, results in joined.items():
        rows = rows_of(results)
        chosen = [
            best_of_papers(rows),
            rows.get("LinDiffRec"),
            best_baseline(rows),
        ]
        shown = [row for row in chosen if row is not None and row["groups"]]
        between = shown[0]["groups"]["between"]
        groups = [n for n, group in enumerate(between) if group["users"] >= LEAST_USERS]
        names = [between[n]["group"] for n in groups]
        lines += ["", f"{dataset}, users by number of train interactions:", ""]
        lines += table_head("model", *names)
        for row in shown:
            spreads = [row["groups"]["between"][n]["metrics"].get(METRIC) for n in groups]
            cells = [f"{s['mean']:.4f}" if s and s["mean"] is not None else "" for s in spreads]
            lines.append(f"| {row['name']} | {' | '.join(cells)} |")
    return lines


def by_noise(files: list[Results]) -> list[str]:
    """Recall as random interactions are added to train."""
    found = {
        f"{ratio_of(results):.0%} added": rows_of(results)
        for results in sorted(files, key=ratio_of)
        if "DiffRec-none" in rows_of(results)
        and not has_all(results)
        and "train_share" not in results
    }
    return as_columns(found)


def by_share(files: list[Results]) -> list[str]:
    """Recall as the train part grows to the whole."""
    found = {
        results.get("train_share", 1.0): rows_of(results)
        for results in files
        if "train_share" in results or has_all(results)
    }
    wanted = rows_of(next((r for r in files if "train_share" in r), {"models": []}))
    return as_columns(
        {
            f"{share:.0%}": {name: row for name, row in found[share].items() if name in wanted}
            for share in sorted(found)
        }
    )


def as_columns(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A table of the models of the first of some comparisons, each of which is a column."""
    if len(found) < 2:
        return []
    lines = table_head("model", *found)
    for name in next(iter(found.values())):
        cells = [with_deviation(rows[name]) if name in rows else "" for rows in found.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def with_deviation(row: Mapping[str, Any]) -> str:
    """Mean over seeds and their standard deviation, where there is one."""
    return with_spread(row["test"][METRIC])


def with_spread(found: Mapping[str, Any]) -> str:
    """The same of one metric."""
    deviation = found["std"] or 0.0
    return f"{found['mean']:.4f}{f' ± {deviation:.4f}' if deviation >= LEAST_SHOWN else ''}"


def of_cold_items(files: list[Results]) -> list[str]:
    """Recall among items that no train interaction has, and among all."""
    lines = table_head("model", f"{METRIC_NAME} among cold items", "among all")
    found = list(filter(has_cold, files))
    for results in found:
        for name, row in rows_of(results).items():
            cold = with_spread(row["test"][f"{METRIC} (cold)"])
            lines.append(f"| {name} | {cold} | {with_deviation(row)} |")
    told = [f"On the joined split: `{results['command']}`" for results in found]
    return [*lines, "", *told] if found else []


def has_cold(results: Results) -> bool:
    """Whether items were held out; the data for that are joined first, so it needs more to run."""
    return any(f"{METRIC} (cold)" in row["test"] for row in rows_of(results).values())


def ratio_of(results: Results) -> float:
    """Share of random interactions that a comparison's command adds."""
    words = results["command"].split()
    told = [word.partition("=")[2] for word in words if word.startswith("--train_noise_ratio=")]
    return float(told[0]) if told else 0.0


def by_steps(files: list[Results]) -> list[str]:
    """Recall by number of steps."""
    lines = table_head("model", "steps", METRIC_NAME, "s to train")
    for results in files:
        for row in rows_of(results).values():
            if set(row["settings"]) == {"steps"}:
                lines.append(
                    f"| {row['model']} | {row['settings']['steps']} | {with_deviation(row)} | "
                    f"{training_seconds(row):.1f} |"
                )
    return lines if len(lines) > 2 else []


def front(rows: Mapping[str, Any]) -> set[str]:
    """Models that none is both faster and better than."""
    return {
        name
        for name, row in rows.items()
        if not any(
            value(other) > value(row) and training_seconds(other) < training_seconds(row)
            for other in rows.values()
        )
    }


def cost_picture(joined: Mapping[str, Results]) -> None:
    """Accuracy against training time on each data set; the front is joined."""
    mpl.rcParams.update({"svg.hashsalt": "study", "font.size": 9, "font.family": "sans-serif"})
    n_rows = -(-len(joined) // 2)
    figure, panels = plt.subplots(n_rows, 2, figsize=(10, 3.4 * n_rows), layout="constrained")
    for panel, (dataset, results) in zip(panels.flat, joined.items(), strict=False):
        rows = {
            name: row
            for name, row in rows_of(results).items()
            if (name in OURS or row["model"] not in OURS) and seconds_of(row) is not None
        }
        best = sorted(front(rows), key=lambda name: training_seconds(rows[name]))
        panel.plot(
            [training_seconds(rows[name]) for name in best],
            [value(rows[name]) for name in best],
            color="#9aa5ad",
            linewidth=1,
            zorder=0,
        )
        for name, row in rows.items():
            kind = "#0b6e99" if name in OURS else "#d9822b" if name in PAPERS else "#7d8793"
            panel.scatter(training_seconds(row), value(row), s=18, color=kind)
            if name in best or name in (*OURS, *PAPERS):
                panel.annotate(
                    name,
                    (training_seconds(row), value(row)),
                    (3, 3),
                    textcoords="offset points",
                    fontsize=7,
                )
        panel.set(xscale="log", title=dataset, xlabel="seconds of training", ylabel=METRIC_NAME)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in panels.flat[len(joined) :]:
        panel.set_visible(False)
    figure.savefig(PICTURES / "study.svg", metadata={"Date": None}, facecolor="white")


def by_protocol(joined: Mapping[str, Results], files: list[Results]) -> list[str]:
    """The order of models on the same interactions under several splits."""
    splits = {
        "ML-1M clean as released (test lies between train and validation)": joined["ml-1m_clean"],
        "ML-1M clean in true order": joined["ml-1m_clean-in-order"],
        "ml-100k, each user's latest held out": joined["ml-100k, in time order"],
    }
    for results in files:
        order = results["evaluation"]["eval_args"]
        if order.get("order") == "TO" and order.get("group_by") in (None, "none"):
            splits["ml-100k, one cut in time for all"] = results
        elif has_all(results) and results["dataset"] == "ml-100k":
            splits["ml-100k, drawn at random"] = results
    lines = table_head("split", "models, best first")
    wanted = (*OURS, "SASRec", "EASE", "EASE-recency", "LightGCN", "DiffRec", "TDiffRec", "ItemKNN")
    for title, results in splits.items():
        rows = rows_of(results)
        ranked = sorted((n for n in wanted if n in rows), key=lambda n: -value(rows[n]))
        shown = ", ".join(f"{name} {value(rows[name]):.3f}" for name in ranked)
        lines.append(f"| {title} | {shown} |")
    return lines


def chosen_on_test() -> list[str]:
    """What the best epoch on test would claim, beside the one that validation picks."""
    lines = table_head("data", "model", "epoch by validation", "epoch by test", "claimed too much")
    for path in sorted((RESULTS / "chosen_on_test").glob("*.json")):
        found = json.loads(path.read_text())
        for model in dict.fromkeys(row["model"] for row in found["rows"]):
            rows = [row for row in found["rows"] if row["model"] == model]
            honest, claimed = (
                float(np.mean([row[chosen] for row in rows]))
                for chosen in ("by_validation", "by_test")
            )
            lines.append(
                f"| {found['dataset']} | {model} | {honest:.4f} | {claimed:.4f} | "
                f"{claimed - honest:+.4f} |"
            )
    return lines if len(lines) > 2 else []


def table_head(*names: str) -> list[str]:
    """Header and rule of a Markdown table."""
    rule = ["---", *["---:"] * (len(names) - 1)]
    return [f"| {' | '.join(names)} |", f"| {' | '.join(rule)} |"]


def page(joined: Mapping[str, Results], files: list[Results]) -> str:
    """The whole page."""
    with_and_without, said = diffusion_part(files)
    ahead = [
        (
            dataset,
            max(value(rows[name]) for name in OURS if name in rows),
            value(best_of_papers(rows)),
        )
        for dataset, results in joined.items()
        for rows in [rows_of(results)]
        if any(name in rows for name in PAPERS)
    ]
    led = sum(ours > papers for _, ours, papers in ahead)
    runnable = [r["command"] for r in files if r["command"] and not has_cold(r)]
    commands = list(dict.fromkeys(runnable))
    shared = {name: r for name, r in joined.items() if "LinDiffRec" in rows_of(r)}
    sections = [
        "# What diffusion buys",
        "",
        "Written by `python benchmarks/study.py` from the committed results; not edited by hand.",
        "Recall@20 on test, all items ranked; the best epoch is picked on validation. In sections",
        "2 to 5 settings are too, where the [reproduction](reproduction.md) does not say untuned.",
        "",
        "## In short",
        "",
        *which_model(shared),
        "",
        "Each with its time to train on one thread, other jobs beside. So:",
        "",
        "- Begin with LinDiffRec, with your items' texts, images or sounds if you have them.",
        "- If what comes next is asked for and you have times, try PrefixDiff. Where one cut in",
        "  time parts train from test for all users, LinDiffRec is ahead of it (section 6).",
        f"- On {led} of {len(ahead)} data sets one of the two is ahead of all of the papers'",
        f"  models that ran there. LinDiffRec takes {times_of(shared, OURS[:1])}, the papers'",
        f"  models {times_of(shared, PAPERS)}.",
        f"- {said}",
        "  That is ml-100k split at random, three seeds; it is not known to hold elsewhere.",
        "- What features, recency, the order and a second step are worth: section 3.",
        "",
        "## 1. The papers' models with and without their diffusion part",
        "",
        "Without: DiffRec and L-DiffRec without noise and with one step, which leaves the",
        "autoencoder; LD4MRec with a millionth of its noise and one step; SimDiff and InfoDCL by",
        "`use_diffusion: false`; DiffMM without generated graphs and the contrast with them. All",
        "else is equal: the defaults, nothing searched. Means of three seeds; Welch's intervals.",
        "",
        *with_and_without,
        "",
        "## 2. Beside our models and the best rival that knows no more",
        "",
        *beside_rivals(joined),
        "",
        "## 3. What knowledge is worth",
        "",
        f"Change of LinDiffRec's {METRIC_NAME} without a part:",
        "",
        *knowledge_worth(joined),
        "",
        "## 4. Kinds of users and data, and steps",
        "",
        "The best of the papers' models, LinDiffRec, and the best rival, by users' activity:",
        f"groups of {LEAST_USERS} users and more. Below, `-none` is a model without its diffusion",
        "part.",
        *by_activity(joined),
    ]
    for title, lines in (
        ("A random share of the train part of ml-100k, the rest as it was:", by_share(files)),
        ("Random interactions added to the train part of ml-100k:", by_noise(files)),
        ("Number of steps, ml-100k:", by_steps(files)),
        (
            "Items of Office that have no train interaction, told by their texts "
            "([cold items](cold_items.md#figures)); `nearest` are the nearest items by texts:",
            of_cold_items(files),
        ),
    ):
        sections += ["", title, "", *lines] if lines else []
    if any("train_share" in results for results in files):
        commands.append("python benchmarks/subsets.py --write")
    on_test = chosen_on_test()
    if on_test:
        told = (
            "An epoch that is picked on test claims too much; means of three seeds, the defaults:"
        )
        on_test = ["", told, "", *on_test]
    sections += [
        "",
        "## 5. Cost",
        "",
        "![Accuracy against seconds of training](pictures/study.svg)",
        "",
        "Blue: ours; orange: the papers'; grey: rivals. The line joins the models that no other",
        "one beats in both time and accuracy. One thread, other jobs beside: orders of magnitude.",
        "Energy was not measured: the machine has no counters of it.",
        "",
        "Recall@20, time to train, peak memory of the process (some 400 MiB of it are imports). Of",
        "some solved models the time was not kept.",
        "",
        *costs(shared),
        "",
        "## 6. Protocol",
        "",
        *by_protocol(joined, files),
        *on_test,
        "",
        "## Commands",
        "",
        "```bash",
        *commands,
        "python benchmarks/study.py",
        "```",
        "",
    ]
    return "\n".join(sections)


def times_of(joined: Mapping[str, Results], names: Iterable[str]) -> str:
    """The least and the greatest time to train of some models."""
    each = [
        seconds_of(row)
        for results in joined.values()
        for name, row in rows_of(results).items()
        if name in names
    ]
    return f"{time_text(min(each))} to {time_text(max(each))}"


def best_of_papers(rows: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The best of the eight models, if one has run."""
    return max((rows[name] for name in PAPERS if name in rows), key=value, default=None)


def main() -> None:
    """Write the page and its picture."""
    joined = joined_results(sorted(RESULTS.glob("*.json")))
    files = [json.loads(path.read_text()) for path in sorted((RESULTS / "study").glob("*.json"))]
    TARGET.write_text(page(joined, files), encoding="utf-8")
    cost_picture({name: r for name, r in joined.items() if len(rows_of(r)) > 8})


if __name__ == "__main__":
    main()

"""The tables of a comparison, made from ``results.json`` alone."""

import csv
import io
from collections.abc import Mapping
from typing import Any

from recbole_diffusion.pages.tables import (
    BETTER,
    QUOTED,
    WORSE,
    Entry,
    Table,
    csv_cell,
    metric_name,
)
from recbole_diffusion.settings.evaluation_keys import without_group
from recbole_diffusion.settings.registry import knowledge

COST_COLUMNS = (
    ("train_seconds_per_epoch", "s an epoch", ".2f"),
    ("epochs_trained", "epochs", ".0f"),
    ("setup_seconds", "s setup", ".2f"),
    ("pretrain_seconds", "s pre-training", ".1f"),
    ("test_seconds", "s evaluation", ".2f"),
    ("parameters", "parameters", ",.0f"),
    ("peak_memory_mb", "peak MiB", ".0f"),
)
SAME = 1e-9  # of the mean: a deviation up to which seeds differ by rounding alone
ENERGY_COLUMN = ("energy_kwh", "kWh of training", ".6f")


def make_tables(results: Mapping[str, Any]) -> list[Table]:
    """All tables of a comparison.

    Args:
        results: Content of ``results.json``.
    """
    makers = (_accuracy, _quoted, protocol_table, test_table, cost_table, _diversity)
    kinds = next((list(m["groups"]) for m in results["models"] if m["groups"]), [])
    made = [make(results) for make in makers] + [_groups(results, kind) for kind in kinds]
    return [table for table in made if table.rows]


def _accuracy(results: Mapping[str, Any]) -> Table:
    metrics = results["evaluation"]["metrics"]
    marks = significance_marks(results)
    rows = []
    for model in results["models"]:
        name = model["name"]
        if model["test"]:
            entries = [
                Entry(
                    spread_text(model["test"][metric]),
                    results["best"][metric] == name,
                    marks.get((name, metric), ""),
                )
                for metric in metrics
            ]
        else:
            entries = [Entry(model["status"])] + [Entry("")] * (len(metrics) - 1)
        rows.append([Entry(_name(model)), *entries])
    words = split_of(results)
    split = f" ({words})" if words else ""
    title = f"Test metrics on {results['dataset']}{split}, {_seed_text(results)}"
    return Table(title, ["model", *map(metric_name, metrics)], rows, _accuracy_notes(results))


def split_of(results: Mapping[str, Any]) -> str:
    """The kind of split in words; empty where an older version wrote none.

    Args:
        results: Content of ``results.json``.
    """
    return str(results["evaluation"].get("split", ""))


def _quoted(results: Mapping[str, Any]) -> Table:
    """What papers report on this data set."""
    metrics = results["evaluation"]["metrics"]
    rows = []
    for row in results["quoted"]:
        values = [row["metrics"].get(metric) for metric in metrics]
        if any(value is not None for value in values):
            entries = [Entry("" if value is None else f"{value:.4f}") for value in values]
            rows.append([Entry(f"{row['name']} ({row['source']})", mark=QUOTED), *entries])
    notes = [f"{QUOTED} as the paper reports it: not run here, not tested, never best."]
    title = f"What papers report on {results['dataset']}"
    return Table(title, ["model", *map(metric_name, metrics)], rows, notes, is_folded=True)


def _name(model: Mapping[str, Any]) -> str:
    cells = [cell for cell in model["cells"] if not cell["selects_on_test"]]
    done = sum(cell["status"] == "finished" for cell in cells)
    is_short = model["status"] == "partial"
    return f"{model['name']} ({done} of {len(cells)} seeds)" if is_short else model["name"]


def _seed_text(results: Mapping[str, Any]) -> str:
    n_seeds = len(results["seeds"])
    return f"mean ± standard deviation over {n_seeds} seeds" if n_seeds > 1 else "one seed"


def _accuracy_notes(results: Mapping[str, Any]) -> list[str]:
    tests, data = results["significance"], results["data"]
    notes = [
        f"Split {data['split_hash']}: the same for all. Best epoch and settings by "
        f"{metric_name(results['evaluation']['valid_metric'])} on validation; masked: "
        f"{results['evaluation']['masked']}.",
        _budget_text(results),
    ]
    same = [model["name"] for model in results["models"] if _is_same_for_seeds(model)]
    if same:
        notes.append(f"Without ±: the same with every seed ({', '.join(same)}).")
    rising = [model["name"] for model in results["models"] if any(map(_is_rising, model["cells"]))]
    if rising:
        notes.append(
            f"Stopped while still getting better, the last epoch the best: {', '.join(rising)}; "
            "more `epochs` may change their place."
        )
    if tests["comparisons"]:
        name = {"wilcoxon": "Wilcoxon signed-rank test (Pratt)", "t": "paired t-test"}
        notes.append(
            f"{BETTER} better, {WORSE} worse than the best baseline, {name[tests['test']]} over "
            f"users at {tests['alpha']} after Holm's correction over {len(tests['comparisons'])} "
            "tests."
        )
    elif not any(model["role"] == "baseline" for model in results["models"]):
        notes.append("No test: none of the models is a baseline; add one, such as EASE.")
    for model in results["models"]:
        notes += [
            f"{model['name']}, seed {cell['seed']}: {cell['error']}"
            for cell in model["cells"]
            if cell["error"]
        ]
        if model["status"] == "not run":
            notes.append(f"{model['name']} is not run: {model['command']}")
    return notes


def _is_same_for_seeds(model: Mapping[str, Any]) -> bool:
    """Whether several seeds gave the same metrics, as of a model that is solved."""
    found = [value for value in model["test"].values() if value["mean"] is not None]
    return bool(found) and all(value["n"] > 1 and not _varies(value) for value in found)


def _varies(value: Mapping[str, Any]) -> bool:
    return value["std"] is not None and value["std"] > SAME * abs(value["mean"])


def _is_rising(cell: Mapping[str, Any]) -> bool:
    """Whether a run that is not solved at once ended by its number of epochs, at its best one."""
    n_epochs = cell.get("epochs_trained") or 0
    return n_epochs > 1 and cell["best_epoch"] == n_epochs - 1


def _budget_text(results: Mapping[str, Any]) -> str:
    budget = results["budget"]
    if budget is None:
        return "Untuned: each model at the settings of its property files and of the command."
    spent = [
        f"{model['name']} {search_text(model['tuning'])}"
        for model in results["models"]
        if model["tuning"]
    ]
    return (
        f"Tuned on validation: {budget['tune']} trials and {budget['tune_minutes']:.0f} minutes "
        f"for each model, {budget['trial_minutes']:.0f} minutes a trial; spent: "
        f"{', '.join(spent) or 'nothing yet'}."
    )


def search_text(tuning: Mapping[str, Any]) -> str:
    """What a search has spent, and whether its best trial was cut short."""
    outcome = tuning.get("best_outcome", "complete")
    cut = "" if outcome == "complete" else f" (best trial: {outcome})"
    return f"{tuning['trials']} trials in {tuning['minutes']:.0f} min{cut}"


def significance_marks(results: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """Marks of the candidates' metrics that differ from the best baseline's, by both names."""
    return {
        (test["candidate"], test["metric"]): BETTER if test["mean_difference"] > 0 else WORSE
        for test in results["significance"]["comparisons"]
        if test["is_significant"]
    }


def protocol_table(results: Mapping[str, Any]) -> Table:
    """Our averages and those of papers' protocols side by side; no rows without protocols."""
    metrics, protocols = results["significance"]["metrics"], results["protocols"]
    sources = [("", "")] + [(entry["name"], f" ({entry['name']})") for entry in protocols]
    rows = []
    for model in results["models"] if protocols else ():
        row = [Entry(_name(model))]
        for metric in metrics:
            for name, _ in sources:
                values = model["protocols"].get(name, {}) if name else model["test"]
                row.append(Entry(spread_text(values.get(metric))))
        rows.append(row)
    header = [metric_name(metric) + suffix for metric in metrics for _, suffix in sources]
    notes = [
        f"{entry['name']}: masked {entry['masked']}; average over {entry['average']}"
        + (f" of {entry['batch_users']}" if entry["batch_users"] else "")
        + (f". WARNING: {entry['warning']}" if entry["warning"] else "")
        for entry in protocols
    ]
    return Table("The same runs by the papers' protocols", ["model", *header], rows, notes)


def test_table(results: Mapping[str, Any]) -> Table:
    """Each candidate against the best baseline, metric by metric."""
    rows = [
        [
            Entry(f"{test['candidate']} against {test['baseline']}"),
            Entry(metric_name(test["metric"])),
            Entry(f"{test['mean_difference']:+.4f}"),
            Entry(f"{test['p']:.2g}"),
            Entry(f"{test['p_holm']:.2g}"),
        ]
        for test in results["significance"]["comparisons"]
    ]
    header = ["comparison", "metric", "difference", "p", "p (Holm)"]
    return Table("Tests against the best baseline", header, rows, [])


def cost_table(results: Mapping[str, Any]) -> Table:
    """Seconds, parameters and memory of each model."""
    models = [model for model in results["models"] if model["costs"]]
    is_measured = any(ENERGY_COLUMN[0] in model["costs"] for model in models)
    columns = [*COST_COLUMNS, *([ENERGY_COLUMN] if is_measured else [])]
    rows = [
        [
            Entry(_name(model)),
            *(Entry(spread_text(model["costs"].get(k), form)) for k, _, form in columns),
        ]
        for model in models
    ]
    notes = [
        "Setup makes the model, and solves those of RecBole that need no gradients; parameters are "
        "what gradients train. Peak MiB: of the GPU where one is used, else of the process."
    ]
    return Table("Costs", ["model", *(text for _, text, _ in columns)], rows, notes)


def _diversity(results: Mapping[str, Any]) -> Table:
    cutoff = without_group(results["evaluation"]["valid_metric"])[0].rpartition("@")[2]
    names = [f"{kind}@{cutoff}" for kind in ("itemcoverage", "averagepopularity", "giniindex")]
    rows = [
        [Entry(_name(model)), *(Entry(spread_text(model["diversity"].get(n))) for n in names)]
        for model in results["models"]
        if model["diversity"]
    ]
    notes = [
        "Coverage: share of all items that are recommended to anyone. Popularity: mean number of "
        "train interactions of a recommended item. Gini: 0 if all items are recommended alike."
    ]
    return Table("Beyond accuracy", ["model", *map(metric_name, names)], rows, notes)


GROUP_TITLES = {
    "at_most": "by users with at most so many train interactions",
    "between": "by users' number of train interactions",
    "item_popularity": "by items, from the least to the most popular",
}


def _groups(results: Mapping[str, Any], kind: str) -> Table:
    metric = without_group(results["evaluation"]["valid_metric"])[0]
    known = [model for model in results["models"] if model["groups"]]
    by_model = [model["groups"][kind] for model in known]
    # Those that some user is in, of whichever model.
    kept = [
        n for n, same in enumerate(zip(*by_model, strict=True)) if any(g["users"] for g in same)
    ]
    groups = [by_model[0][n] for n in kept]
    rows = [
        [Entry(_name(model)), *(Entry(spread_text(cells[n]["metrics"].get(metric))) for n in kept)]
        for model, cells in zip(known, by_model, strict=True)
        if any(metric in group["metrics"] for group in groups)
    ]
    header = ["model", *(f"{group['group']} ({group['users']} users)" for group in groups)]
    return Table(f"{metric_name(metric)} {GROUP_TITLES[kind]}", header, rows, [])


def knowledge_of(model: Mapping[str, Any]) -> str:
    """What a model learns from, as lists say; weights by age tell it of the order."""
    searched = (model["tuning"] or {}).get("settings") or {}
    known = knowledge(model["model"])
    is_ordered = {**model["settings"], **searched}.get("recency") not in (None, "none")
    return f"{known}, order" if is_ordered and known and "order" not in known else known


def training_seconds(model: Mapping[str, Any]) -> float | None:
    """From the beginning to the last epoch, without validations; None where nothing has run."""
    costs = {name: value["mean"] or 0.0 for name, value in model["costs"].items()}
    if not costs:
        return None
    once = sum(costs.get(name, 0.0) for name in ("setup_seconds", "pretrain_seconds"))
    return once + costs["train_seconds_per_epoch"] * costs.get("epochs_trained", 0.0)


def spread_text(value: Mapping[str, Any] | None, form: str = ".4f") -> str:
    """A mean and its deviation, if values vary; nothing where there is none."""
    if value is None or value["mean"] is None:
        return ""
    text = format(value["mean"], form)
    return f"{text} ± {format(value['std'], form)}" if _varies(value) else text


def as_csv(results: Mapping[str, Any]) -> str:
    """One line a model, unrounded: means, deviations, costs and diversity; then the quoted rows."""
    lines: list[dict[str, Any]] = []
    for model in results["models"]:
        line = {"model": model["name"], "source": "here", "status": model["status"]}
        for part in ("test", "costs", "diversity"):
            for name, value in model[part].items():
                line |= {name: value["mean"], f"{name} std": value["std"]}
        lines.append(line)
    lines += [
        {"model": row["name"], "source": row["source"], "status": "quoted", **row["metrics"]}
        for row in results["quoted"]
    ]
    header = list(dict.fromkeys(key for line in lines for key in line))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, header, lineterminator="\n")
    writer.writerow({name: csv_cell(name) for name in header})
    writer.writerows({name: csv_cell(value) for name, value in line.items()} for line in lines)
    return stream.getvalue()

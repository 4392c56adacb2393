"""A page of our numbers beside the papers', written from ``results.json`` files alone.

python -m recbole_diffusion.compare.reproduction benchmarks/results/*.json --target=PAGE.md
"""

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_diffusion.base.arguments import ArgumentParser
from recbole_diffusion.base.errors import UserError, exit_code
from recbole_diffusion.base.files import written_whole
from recbole_diffusion.pages.tables import QUOTED, Entry, Table, as_markdown, metric_name
from recbole_diffusion.studies.compare.results import read_results
from recbole_diffusion.studies.compare.tables import (
    cost_table,
    protocol_table,
    search_text,
    spread_text,
    test_table,
    training_seconds,
)

HEAD = """\
# Reproduction

Written by `python -m recbole_diffusion.compare.reproduction` from the committed results of
comparisons; not edited by hand. Best epochs and settings are picked on validation, every number
is on test, and all rows of a table are on one split. Rows with ‡ stand as the paper reports them;
where a paper's code picks the best epoch on test, its note says so. A number of several seeds
without ± was the same with each.

A model marked `solved` is not trained by gradients: seeds change its numbers only where its
solution starts from a draw, as IALS's does.
A row marked `untuned` was not searched here: it has the settings of its property files and of
its command. A search ends with the trials or the minutes that its command gives, whichever is
first, and a trial is stopped after 8 minutes unless it gives other `--trial_minutes`. A name that
is no model's is made in its command. Runs are on a CPU where no other device is named, one thread
each, two or more at a time: seconds tell orders of magnitude.
[dataset_atomic/README.md](../dataset_atomic/README.md) says how the data are obtained.
"""
# By which a page that an earlier call wrote is known.
BEGINNING = HEAD.partition(" from the committed")[0]
OVERVIEW_NOTES = [
    "The mean on test, and how many baselines have a higher one, of those that have run. The "
    "metric is the one that picks epochs. An empty cell: not asked for there."
]
# Which of two rows of a model stands: the one that has more, then the one that was tuned.
WORTH = {"not run": 0, "failed": 1, "partial": 2, "finished": 3}
# What the page asks of every trained model, and what a run takes beside its training.
TRIALS, SEEDS = 6, 3
AFTERWARDS = ("valid_seconds", "test_seconds")


def write_reproduction(result_files: Sequence[str | Path], target: str | Path) -> None:
    """Write the page; files of one data set and one `eval_args` are joined.

    Of two rows of a model the more finished one stands, of equals the tuned one, then the later.
    Baselines come first, each kind in the files' order. A test stands where both rows do.

    Args:
        result_files: ``results.json`` of comparisons.
        target: Markdown file.

    Raises:
        UserError: A file that is no result of a comparison, or another split of a data set; or
            ``target`` is there and no such page.
    """
    _check_target(Path(target))
    joined = joined_results(result_files)
    sections = [HEAD, _overview(joined), *(_section(*item) for item in joined.items())]
    with written_whole(target) as stream:
        stream.write("\n".join(sections).encode())


def joined_results(result_files: Sequence[str | Path]) -> dict[str, dict[str, Any]]:
    """Results by data set (and split, where there are several), joined as the page joins them.

    Raises:
        UserError: As ``write_reproduction``.
    """
    same: dict[str, list[tuple[Path, dict[str, Any]]]] = {}
    for path in map(Path, result_files):
        results = read_results(path)
        same.setdefault(_name(results), []).append((path, results))
    names = _short_names([files[0][1] for files in same.values()])
    return {names[name]: _join(files) for name, files in same.items()}


def _check_target(target: Path) -> None:
    if not target.parent.is_dir():
        raise UserError(f"{target}: found no folder {target.parent}, expected one")
    if target.is_dir():
        raise UserError(f"{target}: found a folder, expected a file")
    if target.exists() and not target.read_bytes().startswith(BEGINNING.encode()):
        raise UserError(f"{target}: found a file that is no page of this command; move it away")


def _name(results: Mapping[str, Any]) -> str:
    """The data set and how it is split."""
    rules = results["evaluation"].get("eval_args", {})
    told = [f"{key} {rules[key]}" for key in ("split", "order", "group_by") if key in rules]
    return ", ".join([results["dataset"], *told])


def _short_names(each: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Names without the split, where a data set has but one; an order of time is told."""
    n_splits = Counter(results["dataset"] for results in each)
    names = {}
    for results in each:
        is_ordered = results["evaluation"].get("eval_args", {}).get("order") == "TO"
        short = results["dataset"] + ", in time order" * is_ordered
        names[_name(results)] = _name(results) if n_splits[results["dataset"]] > 1 else short
    return names


def _join(files: Sequence[tuple[Path, dict[str, Any]]]) -> dict[str, Any]:
    """Results of one data set and split as those of one comparison."""
    joined = dict(files[0][1])
    models: dict[str, Any] = {}
    for path, results in files:
        splits = [each["data"]["split_hash"] for each in (joined, results)]
        if splits[0] != splits[1]:
            raise UserError(
                f"results {path}: found split {splits[1]} of {results['dataset']}, the file "
                f"before has {splits[0]}"
            )
        for model in results["models"]:
            known = models.get(model["name"])
            if known is None or _worth(model) >= _worth(known):
                models[model["name"]] = model
    comparisons = [
        test
        for _, results in files
        for tested in [{model["name"]: model["test"] for model in results["models"]}]
        for test in results["significance"]["comparisons"]
        if all(
            test[side] in tested and models[test[side]]["test"] == tested[test[side]]
            for side in ("candidate", "baseline")
        )
    ]
    joined["models"] = sorted(models.values(), key=lambda model: model["role"] != "baseline")
    joined["significance"] = {**joined["significance"], "comparisons": comparisons}
    return joined


def _worth(model: Mapping[str, Any]) -> tuple[int, bool]:
    return WORTH[model["status"]], model["tuning"] is not None


def _overview(joined: Mapping[str, Mapping[str, Any]]) -> str:
    """On each data set, our models by how many baselines are ahead of them."""
    headers, rows = ["model"], dict[str, list[Entry]]()
    for column, (name, results) in enumerate(joined.items()):
        metric = results["evaluation"]["valid_metric"]
        n_baselines = len(_means(results, metric, "baseline"))
        for model in results["models"]:
            if model["role"] == "baseline":
                continue
            text = model["status"]
            if model["test"]:
                n_ahead = len(_ahead(results, model, metric))
                text = f"{model['test'][metric]['mean']:.4f}; {n_ahead} of {n_baselines}"
            rows.setdefault(model["name"], [Entry("")] * len(joined))[column] = Entry(text)
        headers.append(f"{name}, {metric_name(metric)}")
    entries = [[Entry(label), *row] for label, row in rows.items()]
    table = Table("Our models, and how many baselines are ahead", headers, entries, OVERVIEW_NOTES)
    return "## Overview\n\n" + as_markdown([table])


def _ahead(results: Mapping[str, Any], model: Mapping[str, Any], metric: str) -> list[str]:
    """Names of the baselines with a higher mean, the best first."""
    means = _means(results, metric, "baseline")
    names = [name for name, mean in means.items() if mean > model["test"][metric]["mean"]]
    return sorted(names, key=lambda name: -means[name])


def _section(name: str, results: Mapping[str, Any]) -> str:
    data, makers = results["data"], (_table, protocol_table, test_table, cost_table, _left_table)
    lines = [
        f"## {name}",
        "",
        f"{data['users']} users, {data['items']} items; {data['train_interactions']} train, "
        f"{data['validation_interactions']} validation and {data['test_interactions']} test "
        f"interactions, split `{data['split_hash']}`.",
        "",
        as_markdown([table for make in makers if (table := make(results)).rows]).rstrip(),
        "",
        *_verdict(results),
        "",
        "Commands:",
        "",
        "```bash",
        *dict.fromkeys(model["command"] for model in results["models"]),
        "```",
        "",
    ]
    return "\n".join(lines)


def _table(results: Mapping[str, Any]) -> Table:
    """A row for each of our models, the papers' rows of it below, then the rest of theirs."""
    metrics = _metrics(results)
    best = {metric: _best(results, metric) for metric in metrics}
    rows = []
    names = {model["name"] for model in results["models"]}
    for model in results["models"]:
        rows.append(_own_row(model, metrics, best))
        rows += [_quoted_row(row, metrics) for row in _quotes(results, model["name"])]
    others = [row for row in results["quoted"] if row["model"] not in names]
    rows += [_quoted_row(row, metrics) for row in others]
    notes = {f"{row['source']}: {row['note']}." for row in results["quoted"] if row["note"]}
    header = ["model", "settings", *map(metric_name, metrics)]
    return Table("Here and in the papers", header, rows, sorted(notes))


def _left_table(results: Mapping[str, Any]) -> Table:
    """What the trained models that were not searched would take."""
    rows = []
    for model in results["models"]:
        if not model["tuning"] and _is_trained(model):
            seconds = _run_seconds(model)
            hours = seconds * (TRIALS + SEEDS) / 3600
            rows.append([Entry(model["name"]), Entry(f"{seconds:.0f}"), Entry(f"{hours:.1f}")])
    notes = [
        "A run as in the table, on its device: setup, training and the last evaluation; "
        "validation between epochs comes on top. A search is shorter where trials are ended early."
    ]
    header = ["model", "s a run", f"h for {TRIALS} trials and {SEEDS} seeds"]
    return Table("Not searched, and what that would take", header, rows, notes)


def _is_trained(model: Mapping[str, Any]) -> bool:
    """Whether it has run, and by gradients; what RecBole solves may have one unused parameter."""
    parameters = model["costs"].get("parameters", {"mean": None})
    return (parameters["mean"] or 0) > 1


def _run_seconds(model: Mapping[str, Any]) -> float:
    """Of a run, the mean over seeds."""
    costs = model["costs"]
    afterwards = sum(costs[key]["mean"] for key in AFTERWARDS if key in costs)
    return (training_seconds(model) or 0.0) + float(afterwards)


def _metrics(results: Mapping[str, Any]) -> list[str]:
    """What is measured here and either picks the epoch's cut-off or is reported by a paper."""
    quoted = {metric for row in results["quoted"] for metric in row["metrics"]}
    wanted = quoted | set(results["significance"]["metrics"])
    return [metric for metric in results["evaluation"]["metrics"] if metric in wanted]


def _own_row(
    model: Mapping[str, Any], metrics: Sequence[str], best: Mapping[str, str | None]
) -> list[Entry]:
    if not model["test"]:
        entries = [Entry(model["status"]), *[Entry("")] * (len(metrics) - 1)]
        return [Entry(model["name"]), Entry(""), *entries]
    values = [
        Entry(spread_text(model["test"].get(metric)), best[metric] == model["name"])
        for metric in metrics
    ]
    return [Entry(model["name"]), Entry(_settings(model)), *values]


def _settings(model: Mapping[str, Any]) -> str:
    done = max(value["n"] for value in model["test"].values())
    parameters = model["costs"].get("parameters", {"mean": 0})["mean"]
    return "; ".join(
        [
            search_text(model["tuning"]) if model["tuning"] else "untuned",
            *["solved"] * (parameters is None),
            f"{done} seed{'s' if done > 1 else ''}",
            *_accelerators(model),
        ]
    )


def _accelerators(model: Mapping[str, Any]) -> list[str]:
    """Devices of a model's runs that are no CPU; cells that have not run have no environment."""
    devices = {cell["environment"]["device"] for cell in model["cells"] if "environment" in cell}
    return sorted(device for device in devices if not device.startswith("cpu"))


def _quoted_row(row: Mapping[str, Any], metrics: Sequence[str]) -> list[Entry]:
    values = [row["metrics"].get(metric) for metric in metrics]
    texts = [Entry("" if value is None else f"{value:.4f}") for value in values]
    return [Entry(row["name"], mark=QUOTED), Entry(row["source"]), *texts]


def _quotes(results: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return [row for row in results["quoted"] if row["model"] == name.removeprefix("recbole.")]


def _best(results: Mapping[str, Any], metric: str, role: str | None = None) -> str | None:
    means = _means(results, metric, role)
    return max(means, key=lambda name: means[name]) if means else None


def _means(results: Mapping[str, Any], metric: str, role: str | None = None) -> dict[str, float]:
    """On test, of the models that have run, by name."""
    return {
        model["name"]: model["test"][metric]["mean"]
        for model in results["models"]
        if metric in model["test"] and role in (None, model["role"])
    }


def _verdict(results: Mapping[str, Any]) -> list[str]:
    """Plainly, who is ahead, metric by metric and of which model, and what failed."""
    means = {model["name"]: model["test"] for model in results["models"]}
    lines = []
    for metric in results["significance"]["metrics"]:
        baseline = _best(results, metric, "baseline")
        candidate = _best(results, metric, "candidate")
        if baseline is None or candidate is None:
            continue
        difference = means[candidate][metric]["mean"] - means[baseline][metric]["mean"]
        told = "is ahead of" if difference > 0 else "falls short of"
        lines.append(
            f"- {metric_name(metric)}: the best model of ours, {candidate}, {told} the best "
            f"baseline, {baseline}, by {abs(difference):.4f}."
        )
    metric = results["evaluation"]["valid_metric"]
    for model in results["models"]:
        if model["role"] != "baseline" and model["test"]:
            names = ", ".join(_ahead(results, model, metric)) or "no baseline"
            lines.append(f"- {metric_name(metric)}: ahead of {model['name']}: {names}.")
    lines += [
        f"- {model['name']}, seed {cell['seed']}, failed: {cell['error']}"
        for model in results["models"]
        for cell in model["cells"]
        if cell["error"]
    ]
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; gives its exit code."""
    return exit_code(lambda: _write(_parser().parse_args(arguments)))


def _parser() -> ArgumentParser:
    parser = ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", nargs="+", help="results.json of comparisons")
    parser.add_argument("--target", default="docs/reproduction.md", help="the page to write")
    return parser


def _write(given: argparse.Namespace) -> None:
    write_reproduction(given.results, given.target)

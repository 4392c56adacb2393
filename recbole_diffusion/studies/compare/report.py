"""The page of a comparison, with its tables and figures, or of all below a folder.

python -m recbole_diffusion.analyze.report FOLDER
"""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_diffusion.base.arguments import ArgumentParser
from recbole_diffusion.base.errors import UserError, exit_code, refusals_of
from recbole_diffusion.base.files import read_json, written_whole
from recbole_diffusion.pages.figure import Gallery
from recbole_diffusion.pages.html import Section, page
from recbole_diffusion.pages.ranking import Ranked, Ranking
from recbole_diffusion.pages.tables import BETTER, WORSE, metric_name
from recbole_diffusion.settings.registry import has_figures
from recbole_diffusion.studies.analyze.comparison import (
    GROUP_FIGURES,
    draw_efficiency,
    draw_groups,
    draw_robustness,
)
from recbole_diffusion.studies.analyze.figures import (
    REPORT,
    RESULTS,
    add_training_figures,
    checkpoint_figures,
    told_missing,
)
from recbole_diffusion.studies.analyze.training import (
    History,
)
from recbole_diffusion.studies.compare.index import write_index
from recbole_diffusion.studies.compare.results import read_results
from recbole_diffusion.studies.compare.tables import (
    GROUP_TITLES,
    knowledge_of,
    make_tables,
    significance_marks,
    split_of,
    spread_text,
    training_seconds,
)
from recbole_diffusion.training.history import lost_epochs, read_history

# What the page reads of each model, beside what all tables do.
ROW_KEYS = (
    *("model", "role", "status", "settings", "tuning", "costs", "diversity", "groups"),
    *("protocols", "cells"),
)


def write_report(folder: str | Path) -> Path:
    """Write ``report.html`` into the folder of a comparison.

    Args:
        folder: Holds ``results.json``, and the runs that it names.

    Returns:
        The file.

    Raises:
        UserError: No comparison, or a damaged file of it or of one beside it.
    """
    folder = Path(folder).resolve()
    results = _read_results(folder)
    metric = results["evaluation"]["valid_metric"]
    tables = make_tables(results)
    of_groups = [table for table in tables if table.title.endswith(tuple(GROUP_TITLES.values()))]
    overview, training, groups, robustness = Gallery(), Gallery(), Gallery(), Gallery()
    overview.add(draw_efficiency(results, metric))
    add_training_figures(training, _histories(folder, results, training), metric)
    groups.add(*(draw_groups(results, kind, metric) for kind in GROUP_FIGURES))
    robustness.add(draw_robustness(results, _neighbours(folder, results, robustness), metric))
    sections = [
        Section("results", "Results", [t for t in tables if t not in of_groups], overview),
        Section("training", "Training", [], training),
        Section("diffusion", "Inside the diffusion models", [], _diagnostics(folder, results)),
        Section("groups", "Groups of users and items", of_groups, groups),
        Section("noise", "Robustness", [], robustness),
    ]
    text = page(
        f"Comparison on {results['dataset']}",
        _facts(results),
        results["command"],
        sections,
        make_ranking(results),
    )
    with written_whole(folder / REPORT) as stream:
        stream.write(text.encode())
    return folder / REPORT


def _read_results(folder: Path) -> dict[str, Any]:
    path = folder / RESULTS
    if not path.is_file():
        raise UserError(f"report: {folder} holds no {RESULTS}: expected the folder of a comparison")
    results = read_results(path, "command", "code")
    for model in results["models"]:
        absent = [key for key in ROW_KEYS if key not in model]
        if absent:
            raise UserError(f"{path}: found no {absent[0]} of {model['name']}")
    return results


def _histories(folder: Path, results: Mapping[str, Any], gallery: Gallery) -> list[History]:
    """Of all runs that have one; the gallery is told of those that cannot be read."""
    histories = []
    for number, model in enumerate(results["models"]):
        for cell in _on_validation(model):
            try:
                records = read_history(folder / cell["folder"])
            except UserError as error:
                gallery.add(told_missing(f"{model['name']}, seed {cell['seed']}", str(error)))
                continue
            lost = lost_epochs(folder / cell["folder"], records, cell.get("epochs_trained") or 0)
            if lost is not None:
                gallery.add(
                    told_missing(f"{model['name']}, seed {cell['seed']}: some epochs", lost)
                )
            if records:
                histories.append(History(model["name"], number, cell["seed"], records))
    return histories


def _on_validation(model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The runs whose best epoch is picked on validation."""
    return [cell for cell in model["cells"] if not cell["selects_on_test"]]


def _diagnostics(folder: Path, results: Mapping[str, Any]) -> Gallery:
    """Figures of the papers for the first finished run of each model that has some."""
    gallery = Gallery()
    for model in results["models"]:
        cells = [cell for cell in _on_validation(model) if cell["status"] == "finished"]
        if has_figures(model["model"]) and cells:
            key = "-" + re.sub(r"[^a-z0-9]+", "-", model["name"].lower())
            name = f": {model['name']}, seed {cells[0]['seed']}"
            path = folder / cells[0]["folder"]
            found = checkpoint_figures(path, cells[0]["seed"], "pca", key, name)
            gallery.add(*found.figures, *found.missing)
    return gallery


def _neighbours(folder: Path, results: Mapping[str, Any], gallery: Gallery) -> dict[float, Any]:
    """This comparison and those beside it that differ in `train_noise_ratio` alone, by that.

    The gallery is told of those that cannot be read.
    """
    parts: dict[float, Any] = {}
    latest: tuple[float, Any] | None = None
    others = sorted(path.parent for path in folder.parent.glob(f"*/{RESULTS}"))
    for place in [folder, *(other for other in others if other != folder)]:
        try:
            found = _plan(place)
            if place == folder:
                latest, parts = found, {} if found is None else {found[0]: results}
            elif latest is not None and found is not None and found[1] == latest[1]:
                parts.setdefault(found[0], _read_results(place))
        except UserError as error:
            gallery.add(told_missing(f"The comparison in {place.name}", str(error)))
    return parts


def _plan(folder: Path) -> tuple[float, Any] | None:
    """The ratio that was asked for, and all that has to agree; None without a plan.

    Raises:
        DamagedFile: The plan is none.
    """
    path = folder / "plan.json"
    if not path.is_file():
        return None
    plan = read_json(path, "dataset", "config_files", "shared", "own", "seeds", "options")
    with refusals_of(f"{path}: no plan of a comparison", ValueError, LookupError, TypeError):
        shared = dict(plan["shared"])
        ratio = float(shared.pop("train_noise_ratio", 0.0))
        budget = [plan["options"][key] for key in ("tune", "tune_minutes", "trial_minutes")]
        identity = (
            plan["dataset"],
            plan["config_files"],
            shared,
            plan["own"],
            plan["seeds"],
            budget,
        )
        return ratio, identity


def make_ranking(results: Mapping[str, Any]) -> Ranking | None:
    """The models by the metric that picks epochs, with what they know and cost; None without any.

    Args:
        results: Content of ``results.json``.
    """
    metric = results["evaluation"]["valid_metric"]
    marks = significance_marks(results)
    rows = [
        Ranked(
            model["name"],
            model["test"][metric]["mean"],
            model["test"][metric]["std"] or 0.0,
            spread_text(model["test"][metric]),
            marks.get((model["name"], metric), ""),
            [text for text in (knowledge_of(model), _training_time(model)) if text],
            _of_papers(results, model["model"], metric),
        )
        for model in results["models"]
        if model["test"] and model["test"][metric]["mean"] is not None
    ]
    if not rows:
        return None
    notes = ["Line: one standard deviation over seeds to each side."] * any(r.spread for r in rows)
    notes += [
        "Below a name: what the model is able to learn from, whether these data have it or not, "
        "and how long it trained."
    ]
    if marks:
        notes.append(
            f"{BETTER} significantly better, {WORSE} worse than the best baseline; see the notes "
            "of the table."
        )
    if any(row.others for row in rows):
        notes.append("Hollow: what papers report of the model on these data; not run here.")
    return Ranking(
        f"{metric_name(metric)} on test, best first",
        ("Model", metric_name(metric)),
        sorted(rows, key=lambda row: -row.value),
        notes,
    )


def _of_papers(results: Mapping[str, Any], model: str, metric: str) -> list[tuple[float, str]]:
    return [
        (row["metrics"][metric], f"{row['name']}, {row['source']}")
        for row in results["quoted"]
        if row["model"] == model and row["metrics"].get(metric) is not None
    ]


def _training_time(model: Mapping[str, Any]) -> str:
    seconds = training_seconds(model)
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _facts(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    data, seeds = results["data"], results["seeds"]
    return [
        ("Users", f"{data['users']:,}"),
        ("Items", f"{data['items']:,}"),
        ("Train interactions", f"{data['train_interactions']:,}"),
        ("Test interactions", f"{data['test_interactions']:,}"),
        ("Seeds", ", ".join(map(str, seeds))),
        ("Picked on validation by", str(results["evaluation"]["valid_metric"])),
        ("Split", ", ".join(filter(None, (split_of(results), data["split_hash"])))),
        ("Made by", results["code"]),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; gives its exit code."""
    return exit_code(lambda: _write_and_tell(arguments))


def _write_and_tell(arguments: Sequence[str] | None) -> None:
    parser = ArgumentParser(
        prog="python -m recbole_diffusion.analyze.report",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("folder", help="of a comparison, or one that holds some")
    folder = Path(parser.parse_args(arguments).folder)
    write = write_report if (folder / RESULTS).is_file() else write_index
    sys.stdout.write(f"{write(folder)}\n")

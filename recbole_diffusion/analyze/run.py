"""The command ``analyze``: the figures of one finished run, or of one search of settings."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole_diffusion import report
from recbole_diffusion.analyze.comparison import draw_sensitivity
from recbole_diffusion.analyze.embeddings import PROJECTIONS
from recbole_diffusion.analyze.figure import Gallery
from recbole_diffusion.analyze.html import Section, page
from recbole_diffusion.analyze.report import (
    DRAWN,
    REPORT,
    RESULTS,
    add_training_figures,
    checkpoint_figures,
)
from recbole_diffusion.analyze.training import History
from recbole_diffusion.compare.tables import Entry, Table, metric_name
from recbole_diffusion.errors import UserError, expect, refusals_of
from recbole_diffusion.files import folder_written_whole
from recbole_diffusion.history import read_history
from recbole_diffusion.property_files import read_properties

OPTIONS = ("run", "projection")


def main(keys: Mapping[str, Any]) -> None:
    """The command line's way in: ``analyze FOLDER [--projection=tsne]``.

    Args:
        keys: Of the command line.

    Raises:
        UserError: No folder, or another key.
    """
    unknown = sorted(set(keys) - set(OPTIONS))
    if unknown or "run" not in keys:
        raise UserError(
            f"analyze: found {', '.join(unknown) or 'no folder'}, expected the folder of a run or "
            f"a study, and at most --projection={'|'.join(PROJECTIONS)}"
        )
    folder = analyze(**keys)
    with report.run_logger(None, "info") as log:
        log.info(f"analysis: {folder / REPORT}")


def analyze(run: str | Path, projection: str = "pca") -> Path:
    """Write ``analysis/`` into the folder of a run or study: a page, and a CSV for each figure.

    Nothing else in the folder is touched; an older analysis is replaced as a whole.

    Args:
        run: Folder of a run that has ended, or of a study (``tune``).
        projection: Of the map of items, ``pca`` or ``tsne``.

    Returns:
        The folder ``analysis``.

    Raises:
        UserError: Another folder, a run that has not ended, or a damaged file of it.
    """
    expect(projection in PROJECTIONS, "projection", projection, f"one of {', '.join(PROJECTIONS)}")
    folder = Path(run).resolve()
    if (folder / RESULTS).is_file():
        raise UserError(
            f"analyze: {run} is the folder of a comparison, expected that of a run; its report is "
            f"made by: python -m recbole_diffusion.analyze.report {run}"
        )
    if (folder / "study.json").is_file():
        text, galleries = _study_page(folder)
    else:
        text, galleries = _run_page(folder, projection)
    with folder_written_whole(folder / "analysis") as target:
        (target / REPORT).write_text(text, encoding="utf-8")
        for figure in (figure for gallery in galleries for figure in gallery.figures):
            figure.table.to_csv(target / f"{figure.key}.csv", index=False, lineterminator="\n")
    return folder / "analysis"


def _run_page(folder: Path, projection: str) -> tuple[str, list[Gallery]]:
    result = _read(
        folder, "result.json", "that of a run that has ended (--resume goes on with one)"
    )
    settings = read_properties(folder / "config.yaml")
    metric = str(settings["valid_metric"]).lower()
    model, seed = result["model"], result["seed"]
    history = History(model, 0, seed, read_history(folder))
    training, inside = Gallery(), Gallery()
    add_training_figures(training, [history] if history.records else [], metric)
    if model in DRAWN and not result["is_host_model"]:
        found = checkpoint_figures(folder, model, seed, projection)
        inside.add(*found.figures, *found.missing)
    parts = {"validation": result["valid"], "test": result.get("test")}
    known = {name: scores for name, scores in parts.items() if scores}
    rows = [
        [Entry(metric_name(name)), *(Entry(f"{scores[name]:.4f}") for scores in known.values())]
        for name in result["valid"]
    ]
    scores = Table(f"Best epoch, {result['best_epoch']}", ["metric", *known], rows, [])
    facts = [
        ("Seed", str(seed)),
        ("Epochs trained", str(result["epochs_trained"])),
        ("Training, seconds an epoch", f"{result['train_seconds_per_epoch']:.3g}"),
        ("Parameters", "none" if result["parameters"] is None else f"{result['parameters']:,}"),
        ("Split", result["split_hash"]),
    ]
    sections = [
        Section("results", "Results", [scores], Gallery()),
        Section("training", "Training", [], training),
        Section("diffusion", "Inside the diffusion model", [], inside),
    ]
    title = f"{model} on {result['dataset']}"
    return page(title, facts, None, sections), [training, inside]


def _study_page(folder: Path) -> tuple[str, list[Gallery]]:
    study = _read(folder, "study.json", "that of a study")
    gallery = Gallery()
    gallery.add(draw_sensitivity(study))
    identity = study["identity"]
    title = f"Settings of {identity.get('model', folder.name)}"
    facts = [("Trials", str(len(study["trials"]))), ("Score", metric_name(study["valid_metric"]))]
    return page(title, facts, None, [Section("study", "Study", [], gallery)]), [gallery]


def _read(folder: Path, name: str, expected: str) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        raise UserError(f"analyze: {folder} holds no {name}, expected {expected}")
    with refusals_of(f"{path}: no JSON of ours", ValueError, TypeError):
        return dict(json.loads(path.read_text(encoding="utf-8")))

"""The command ``analyze``: the figures of one finished run, or of one search of settings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole_diffusion.base.arguments import described_keys
from recbole_diffusion.base.errors import UserError, expect
from recbole_diffusion.base.files import read_json, remove_unfinished, write_json, written_whole
from recbole_diffusion.base.log import run_logger
from recbole_diffusion.models.embedding_figures import PROJECTIONS
from recbole_diffusion.pages.figure import Gallery
from recbole_diffusion.pages.html import Section, page
from recbole_diffusion.pages.tables import Entry, Table, csv_cell, metric_name
from recbole_diffusion.settings.registry import has_figures
from recbole_diffusion.studies.analyze.comparison import draw_sensitivity
from recbole_diffusion.studies.analyze.figures import (
    REPORT,
    RESULTS,
    add_training_figures,
    checkpoint_figures,
    told_missing,
)
from recbole_diffusion.studies.analyze.training import History
from recbole_diffusion.training.history import lost_epochs, read_history

OPTIONS = ("run", "projection")
RESULT_KEYS = (
    *("model", "is_host_model", "dataset", "split_hash", "seed", "best_epoch", "valid_metric"),
    *("valid", "epochs_trained", "train_seconds_per_epoch", "parameters"),
)
# Names of the files that the last analysis wrote.
WRITTEN = ".recbole-diffusion-files.json"


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
    with run_logger(None, "info") as log:
        folder = analyze(**keys)
        log.info(f"analysis: {folder / REPORT}")


def keys_text() -> str:
    """The command's own keys, for ``analyze --help``."""
    return described_keys(analyze, run="--run, or RUN")


def analyze(run: str | Path, projection: str = "pca") -> Path:
    """Write ``analysis/`` into the folder of a run or study: a page, and a CSV for each figure.

    Nothing else in the folder is touched. The files of an older analysis are replaced or removed;
    what no analysis wrote stays, and is an error where it has the name of a file to write.

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
    figures = [figure for gallery in galleries for figure in gallery.figures]
    tables = {
        f"{figure.key}.csv": figure.table.map(csv_cell).to_csv(index=False, lineterminator="\n")
        for figure in figures
    }
    _write_analysis(folder / "analysis", {**tables, REPORT: text})
    return folder / "analysis"


def _write_analysis(folder: Path, texts: Mapping[str, str]) -> None:
    """Write the files one by one, the page last; remove those of an older analysis alone."""
    folder.mkdir(exist_ok=True)
    remove_unfinished(folder)
    listed = folder / WRITTEN
    before = read_json(listed, "files")["files"] if listed.is_file() else []
    for name in set(texts) - set(before):
        if (folder / name).exists():
            raise UserError(f"{folder / name}: found a file that no analysis wrote; move it away")
    write_json(listed, {"files": sorted({*before, *texts})})
    for name, text in texts.items():
        with written_whole(folder / name) as stream:
            stream.write(text.encode())
    for name in set(before) - set(texts):
        if Path(name).name == name and Path(name).suffix in (".csv", ".html"):
            (folder / name).unlink(missing_ok=True)
    write_json(listed, {"files": sorted(texts)})


def _run_page(folder: Path, projection: str) -> tuple[str, list[Gallery]]:
    ended = "that of a run that has ended (--resume goes on with one)"
    result = _read(folder, "result.json", ended, *RESULT_KEYS)
    metric = result["valid_metric"]
    model, seed = result["model"], result["seed"]
    history = History(model, 0, seed, read_history(folder))
    training, inside = Gallery(), Gallery()
    _tell_lost(training, lost_epochs(folder, history.records, result["epochs_trained"]))
    add_training_figures(training, [history] if history.records else [], metric)
    if has_figures(model) and not result["is_host_model"]:
        found = checkpoint_figures(folder, seed, projection)
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


def _tell_lost(gallery: Gallery, told: str | None) -> None:
    """On the page and the console, that curves lack some epochs."""
    if told is not None:
        gallery.add(told_missing("Some epochs", told))


def _study_page(folder: Path) -> tuple[str, list[Gallery]]:
    study = _read(folder, "study.json", "that of a study", "identity", "trials", "valid_metric")
    gallery = Gallery()
    gallery.add(draw_sensitivity(study))
    identity = study["identity"]
    title = f"Settings of {identity.get('model', folder.name)}"
    facts = [("Trials", str(len(study["trials"]))), ("Score", metric_name(study["valid_metric"]))]
    return page(title, facts, None, [Section("study", "Study", [], gallery)]), [gallery]


def _read(folder: Path, name: str, expected: str, *keys: str) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        or_study = ", or study.json of a study" if name == "result.json" else ""
        raise UserError(f"analyze: {folder} holds no {name}, expected {expected}{or_study}")
    return read_json(path, *keys)

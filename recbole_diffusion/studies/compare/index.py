"""One page that lists comparisons and searches."""

from collections.abc import Callable, Mapping
from logging import getLogger
from pathlib import Path
from typing import Any
from urllib.parse import quote

from recbole_diffusion.base.errors import UserError, refusals_of
from recbole_diffusion.base.files import read_json, written_whole
from recbole_diffusion.pages.figure import Gallery
from recbole_diffusion.pages.html import GENERATOR, Section, page
from recbole_diffusion.pages.tables import Entry, Table, metric_name
from recbole_diffusion.studies.analyze.figures import REPORT, RESULTS
from recbole_diffusion.studies.compare.results import MISSHAPEN, read_results
from recbole_diffusion.studies.compare.tables import split_of, spread_text

INDEX, STUDY = "index.html", "study.json"
DEPTH = 3  # folders below the one that is asked for


def write_index(folder: str | Path) -> Path:
    """Write ``index.html`` into a folder: a row for each comparison and search below it.

    What cannot be read is told, and left out.

    Args:
        folder: Holds folders of comparisons and studies, three deep at most.

    Returns:
        The file.

    Raises:
        UserError: None is there, or a file of that name that this did not write.
    """
    folder = Path(folder).resolve()
    comparisons = _rows(folder, RESULTS, _comparison)
    searches = _rows(folder, STUDY, _search)
    if not comparisons and not searches:
        raise UserError(
            f"report: {folder} holds no {RESULTS} and no {STUDY}, expected the folder of a "
            "comparison, or one with comparisons or searches below"
        )
    path = folder / INDEX
    if path.is_file() and GENERATOR not in path.read_text(encoding="utf-8", errors="replace"):
        raise UserError(f"{path}: found a page of other making, expected none")
    tables = [
        Table(
            "Comparisons",
            ["folder", "value", "best", "data", "split", "models", "seeds"],
            comparisons,
            [],
        ),
        Table("Searches", ["folder", "best", "model", "data", "trials", "minutes"], searches, []),
    ]
    filled = [table for table in tables if table.rows]
    facts = [(table.title, str(len(table.rows))) for table in filled]
    text = page(
        f"Comparisons and searches in {folder.name}",
        facts,
        None,
        [Section("list", "All", filled, Gallery())],
    )
    with written_whole(path) as stream:
        stream.write(text.encode())
    return path


def _rows(folder: Path, name: str, row_of: Callable[[Path], list[Entry]]) -> list[list[Entry]]:
    found = sorted(
        path for depth in range(1, DEPTH + 1) for path in folder.glob("*/" * depth + name)
    )
    rows = []
    for path in found:
        try:
            with refusals_of(f"{path}: found something else than was written", *MISSHAPEN):
                rows.append([_link(folder, path), *row_of(path)])
        except UserError as error:
            getLogger().warning(f"left out: {error}")
    return rows


def _link(folder: Path, path: Path) -> Entry:
    """To the page of a comparison or an analysed search, where there is one."""
    place = path.parent.relative_to(folder)
    pages = [path.parent / REPORT, path.parent / "analysis" / REPORT]
    page_of = next((page for page in pages if page.is_file()), None)
    link = "" if page_of is None else quote(page_of.relative_to(folder).as_posix())
    return Entry(place.as_posix(), link=link)


def _comparison(path: Path) -> list[Entry]:
    results = read_results(path)
    metric = results["evaluation"]["valid_metric"]
    done = [model for model in results["models"] if model["test"]]
    best = results["best"].get(metric, "")
    value = next((spread_text(m["test"][metric]) for m in done if m["name"] == best), "")
    return [
        Entry(f"{value} {metric_name(metric)}" if value else ""),
        Entry(best),
        Entry(results["dataset"]),
        Entry(split_of(results)),
        Entry(f"{len(done)} of {len(results['models'])}"),
        Entry(str(len(results["seeds"]))),
    ]


def _search(path: Path) -> list[Entry]:
    study = read_json(path, "identity", "valid_metric", "used", "best")
    identity: Mapping[str, Any] = study["identity"]
    best = study["best"]
    score = "" if best is None else f"{best['score']:.4f} {metric_name(study['valid_metric'])}"
    return [
        Entry(score),
        Entry(str(identity.get("model", ""))),
        Entry(str(identity.get("dataset", ""))),
        Entry(str(study["used"]["trials"])),
        Entry(f"{study['used']['minutes']:.0f}"),
    ]

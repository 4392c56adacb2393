"""The command ``inspect``: what a data set holds, printed and drawn."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_diffusion.base.errors import UserError, expect
from recbole_diffusion.base.files import written_whole
from recbole_diffusion.base.log import run_logger
from recbole_diffusion.data.split import load_split
from recbole_diffusion.pages.figure import Gallery
from recbole_diffusion.pages.html import Section, page
from recbole_diffusion.pages.tables import Entry, Table, as_text
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.evaluation_keys import split_in_words
from recbole_diffusion.settings.words import split_files
from recbole_diffusion.studies.inspection.data import pairs_of, part_rows, sizes
from recbole_diffusion.studies.inspection.figures import draw

# Reads no features, and is never made.
MODEL = "Pop"
# Below what is given: times as they are, and nothing that a small data set would be refused for.
SETTINGS = {
    **{"normalize_all": False, "normalize_field": None},
    **{"topk": [1], "valid_metric": "Recall@1"},
}
HEADER = ["part", "interactions", "users", "items", "of cold users", "of cold items"]
TIMES = ["later", "after the cut"]
NOTE = (
    "of cold users, items: share of interactions whose user or item train lacks; later: after all "
    "of the user's train; after the cut: after all of train."
)


def main(keys: Mapping[str, Any]) -> None:
    """The command line's way in: ``inspect DATASET [--out=FILE.html] [--key=value ...]``.

    Args:
        keys: Of the command line.

    Raises:
        UserError: Another key, no such data set, or a page that is there already.
    """
    others = dict(keys)
    dataset, out = str(others.pop("dataset", "ml-100k")), others.pop("out", None)
    config_files = split_files(others.pop("config_files", ""))
    with run_logger(None, "info") as log:
        tables = inspect(dataset, out, config_files, others)
        log.info(as_text(tables))
        if out is not None:
            log.info(f"page: {out}")


def keys_text() -> str:
    """The command's own keys, for ``inspect --help``."""
    return (
        "  DATASET              As --dataset takes it (default: ml-100k).\n"
        "  --out                Page with the tables and pictures, a new file (.html).\n"
        "  --key=value          Keys of the data: data_path, eval_args, split_seed, filters ...\n"
    )


def inspect(
    dataset: str,
    out: str | Path | None = None,
    config_files: Sequence[str] = (),
    config_dict: Mapping[str, Any] | None = None,
) -> list[Table]:
    """Count a data set and its split, and draw it.

    Args:
        dataset: Its name.
        out: Page to write, a new file; None draws nothing.
        config_files: Property files.
        config_dict: Settings of the data above the files.

    Returns:
        The whole, and the parts.

    Raises:
        UserError: No such data set, settings that do not fit, or a file that is there already.
    """
    target = None if out is None else Path(out)
    if target is not None:
        expect(target.suffix == ".html", "out", str(out), "a file that ends in .html")
    if target is not None and (target.exists() or not target.resolve().parent.is_dir()):
        state = "a file that is there already" if target.exists() else "no folder for it"
        raise UserError(f"key `out`: found {state}: {target}; expected a new file")
    config = Config(MODEL, dataset, config_files, {**SETTINGS, **(config_dict or {})})
    split = load_split(config, may_write=False)
    pairs = pairs_of(config, split)
    facts = sizes(pairs)
    whole = Table(dataset, ["", "all parts"], [[Entry(a), Entry(b)] for a, b in facts], [])
    header = HEADER + (TIMES if pairs.times else [])
    rows = [[Entry(text) for text in row] for row in part_rows(pairs)]
    parts = Table(f"Split {split.digest} ({split_in_words(config)})", header, rows, [NOTE])
    if target is not None:
        sections = [
            Section("numbers", "Numbers", [whole, parts], Gallery()),
            Section("pictures", "Pictures", [], draw(pairs)),
        ]
        columns = ", ".join(pairs.columns) or "none"
        told = [("Folder", str(config["data_path"])), ("Columns of items", columns)]
        with written_whole(target) as stream:
            stream.write(page(f"The data set {dataset}", told, None, sections).encode())
    return [whole, parts]

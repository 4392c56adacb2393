"""Formats of released splits, as InfoDCL, DiffRec, LightGCN, SSLRec and MMRec have them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.files import is_file_or_absent
from recbole_diffusion.convert.coo_pickles import read_coo
from recbole_diffusion.convert.interactions import (
    Interactions,
)
from recbole_diffusion.convert.lists import read_lists, read_pairs
from recbole_diffusion.convert.reading import line_error, read_array_pairs, shown
from recbole_diffusion.convert.tables import ID, NUMBER_KIND, TableOptions, TextTable
from recbole_diffusion.convert.values import ids_of, numbers_of
from recbole_diffusion.convert.writing import (
    SPLITS,
)

MODALITIES = ("image", "audio", "text")
PICKLES = {
    "train": ("trnMat.pkl", "trn_mat.pkl", "train_mat.pkl"),
    "valid": ("valMat.pkl", "val_mat.pkl", "valid_mat.pkl"),
    "test": ("tstMat.pkl", "tst_mat.pkl", "test_mat.pkl"),
}
MMREC_IDS = ("userID", "itemID", "x_label")
MMREC_NUMBERS = ("rating", "timestamp")


@dataclass(frozen=True)
class ReleasedSplit:
    """A split as it is stored.

    Attributes:
        log: Interactions of all parts.
        parts: Number in ``SPLITS`` of each row's part [n].
        n_items: Number of items that the source declares, if it does.
        is_ordered: Whether the place of a row in its part becomes its time.
    """

    log: Interactions
    parts: np.ndarray
    n_items: int | None = None
    is_ordered: bool = False


@dataclass(frozen=True)
class SplitFormat:
    """How a released split is stored.

    Attributes:
        read: Gives the split in a folder; the name is that of the data set.
        help: What it is, for the command line.
        items: File with its table of items, and that file's columns with the field of each that
            is kept.
        modalities: What its files ``<modality>_feat.npy`` can be.
        may_lack_valid: Whether a release can have no validation part.
    """

    read: Callable[[Path, str], ReleasedSplit]
    help: str
    items: tuple[str, Mapping[str, str | None]] | None = None
    modalities: tuple[str, ...] = ()
    may_lack_valid: bool = False


def _joined(source: Path, logs: Mapping[str, Interactions], **more: Any) -> ReleasedSplit:
    """Parts, in the order of ``SPLITS``, as one."""
    chunks = {
        name: pa.chunked_array([getattr(log, name) for log in logs.values()]).unify_dictionaries()
        for name in ("users", "items")
    }
    users, items = (chunks[name].combine_chunks() for name in ("users", "items"))
    parts = np.repeat([SPLITS.index(part) for part in logs], [len(log) for log in logs.values()])
    fields = set.intersection(*(set(log.numbers) for log in logs.values()))
    numbers: dict[str, np.ndarray] = {
        name: np.concatenate([log.numbers[name] for log in logs.values()])
        for name in ("rating", "timestamp")
        if name in fields
    }
    notes = [note for log in logs.values() for note in log.notes]
    return ReleasedSplit(Interactions(source, users, items, numbers, notes=notes), parts, **more)


def _numbered(path: Path, users: np.ndarray, items: np.ndarray) -> Interactions:
    """Interactions whose ids are whole numbers."""
    coded = (pa.array(ids).cast(pa.string()).dictionary_encode() for ids in (users, items))
    return Interactions(path, *coded)


def _read_text(source: Path, _: str) -> ReleasedSplit:
    return _joined(source, {s: read_pairs(source / f"{s}.txt", counting=True) for s in SPLITS})


def _read_lists(source: Path, _: str) -> ReleasedSplit:
    """The place in a list is no time: LightGCN's are sorted by item."""
    parts = [s for s in SPLITS if s != "valid" or is_file_or_absent(source / "valid.txt")]
    logs = {part: read_lists(source / f"{part}.txt") for part in parts}
    bare = {
        part: Interactions(log.path, log.users, log.items, notes=log.notes)
        for part, log in logs.items()
    }
    return _joined(source, bare)


def _read_arrays(source: Path, _: str) -> ReleasedSplit:
    paths = {split: source / f"{split}_list.npy" for split in SPLITS}
    logs = {s: _numbered(path, *read_array_pairs(path).T) for s, path in paths.items()}
    return _joined(source, logs, is_ordered=True)


def _read_pickles(source: Path, _: str) -> ReleasedSplit:
    paths = {}
    for split, names in PICKLES.items():
        path = next((source / name for name in names if (source / name).is_file()), None)
        if path is not None or split != "valid":
            paths[split] = path or source / names[0]
    entries = {split: read_coo(path) for split, path in paths.items()}
    shape = entries["train"].shape
    for split, found in entries.items():
        if found.shape != shape:
            raise UserError(
                f"{paths[split]}: found the shape {found.shape}, expected {shape} as in "
                f"{paths['train'].name}."
            )
    logs = {s: _numbered(paths[s], found.rows, found.columns) for s, found in entries.items()}
    return _joined(source, logs, n_items=shape[1])


def _read_mmrec(source: Path, name: str) -> ReleasedSplit:
    """Reads all rows: the splits share one file, in any order."""
    path = source / f"{name}.inter"
    others = sorted(source.glob("*.inter"))
    if not path.is_file() and len(others) == 1:
        path = others[0]
    table = TextTable(path, TableOptions("\t", header=True, encoding="utf-8", quotes=False))
    if not set(MMREC_IDS) <= set(table.columns):
        expected = f"the columns {', '.join(MMREC_IDS)}, separated by tabs"
        raise line_error(path, 1, shown("\t".join(table.columns)), expected)
    names = [column for column in MMREC_NUMBERS if column in table.columns]
    rows = table.read({**dict.fromkeys(MMREC_IDS, ID), **dict.fromkeys(names, NUMBER_KIND)})
    labels = rows["x_label"].cast(pa.string())
    is_known = pc.is_in(labels, pa.array(["0", "1", "2"]))
    if not pc.all(is_known).as_py():
        row = pc.index(is_known, False).as_py()
        expected = "0 (train), 1 (validation) or 2 (test)"
        raise table.error(row, f"x_label {shown(labels[row].as_py())}", expected)
    users, items = (ids_of(table, rows[column], counting=True) for column in MMREC_IDS[:2])
    numbers = {column: numbers_of(table, column, rows[column]) for column in names}
    parts = labels.cast(pa.int8()).to_numpy()
    empty = [split for n, split in enumerate(SPLITS) if not (parts == n).any()]
    if empty:
        raise UserError(f"{path}: found no row of {' and '.join(empty)}, expected at least one.")
    return ReleasedSplit(Interactions(path, users, items, numbers, notes=table.notes), parts)


FORMATS = {
    "text-split": SplitFormat(
        _read_text,
        "train.txt, valid.txt, test.txt with lines `user item`, and item_text.tsv (InfoDCL)",
        ("item_text.tsv", {"item": None, "asin": None, "text": "text"}),
    ),
    "list-split": SplitFormat(
        _read_lists,
        "train.txt and test.txt with lines `user item item ...`, valid.txt if there is one "
        "(LightGCN)",
        may_lack_valid=True,
    ),
    "npy-split": SplitFormat(
        _read_arrays,
        "train_list.npy, valid_list.npy, test_list.npy of integers [n, 2], and item_titles.tsv "
        "(DiffRec); the order of rows becomes the field timestamp",
        ("item_titles.tsv", {"item": None, "movie_id": None, "title": "title", "genres": "genre"}),
    ),
    "diffmm": SplitFormat(
        _read_pickles,
        "trnMat.pkl, tstMat.pkl and, if there is one, valMat.pkl of sparse matrices, also named "
        "trn_mat.pkl or train_mat.pkl, and <modality>_feat.npy (DiffMM, SSLRec)",
        modalities=MODALITIES,
        may_lack_valid=True,
    ),
    "mmrec": SplitFormat(
        _read_mmrec,
        "one .inter with userID, itemID, x_label, and <modality>_feat.npy (MMRec)",
        modalities=MODALITIES,
    ),
}

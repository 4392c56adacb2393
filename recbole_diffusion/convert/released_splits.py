"""Released splits: InfoDCL's texts, DiffRec's arrays, DiffMM's pickles and MMRec's tables."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.files import is_file_or_absent
from recbole_diffusion.convert.common import INTER_HEADER, Content, Pair
from recbole_diffusion.convert.coo_pickles import read_coo
from recbole_diffusion.convert.pairs import drop_duplicates, separate_splits
from recbole_diffusion.convert.reading import (
    line_error,
    open_matrix,
    parse_id,
    parse_number,
    read_array_pairs,
    read_lines,
    read_pairs,
    shown,
    spaced_genres,
)
from recbole_diffusion.convert.writing import (
    check_name,
    check_stale,
    check_targets,
    feature_writer,
    inter_lines,
    timed_inter_lines,
    write_files,
)

SPLITS = ("train", "valid", "test")
MODALITIES = ("image", "audio", "text")
PICKLES = {"train": "trnMat.pkl", "valid": "valMat.pkl", "test": "tstMat.pkl"}
MMREC_IDS = ("userID", "itemID", "x_label")
MMREC_NUMBERS = {"rating": "rating:float", "timestamp": "timestamp:float"}

Lines = Callable[[str, Iterable[Pair]], Iterator[str]]


@dataclass(frozen=True)
class ConversionReport:
    """What a conversion wrote.

    Attributes:
        users: Number of distinct users in all splits together.
        items: Number of distinct items in all splits together.
        interactions: Pairs written, by split.
        duplicates: Repeated pairs within a split that were removed, by split.
        cross_duplicates: Pairs removed because an earlier split holds them, by split.
        features: Width of each feature matrix written, by modality.
    """

    users: int
    items: int
    interactions: Mapping[str, int]
    duplicates: Mapping[str, int]
    cross_duplicates: Mapping[str, int]
    features: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ItemTable:
    """A released table of items.

    Attributes:
        file: Its name.
        header: Its columns; the first one holds the items.
        columns: Columns to write, each with its source and what is done to its texts.
    """

    file: str
    header: tuple[str, ...]
    columns: Mapping[str, tuple[str, Callable[[str], str]]]


ITEM_TEXTS = ItemTable("item_text.tsv", ("item", "asin", "text"), {"text": ("text", str)})
ITEM_TITLES = ItemTable(
    "item_titles.tsv",
    ("item", "movie_id", "title", "genres"),
    {"title": ("title", str), "genre": ("genres", spaced_genres)},
)


@dataclass(frozen=True)
class ReleasedSplit:
    """A split as it is stored.

    Attributes:
        pairs: Pairs by split, read when they are iterated.
        lines: Gives the lines of a split's ``.inter`` from its name and the pairs that it keeps.
        n_items: Number of items that the source declares, if it does.
    """

    pairs: Mapping[str, Iterable[Pair]]
    lines: Lines
    n_items: int | None = None


@dataclass(frozen=True)
class SplitFormat:
    """How a released split is stored.

    Attributes:
        read: Gives the split in a folder; the name is that of the data set.
        help: What it is, for the command line.
        items: Its table of items, if it can have one.
        modalities: What its files ``<modality>_feat.npy`` can be.
    """

    read: Callable[[Path, str], ReleasedSplit]
    help: str
    items: ItemTable | None = None
    modalities: tuple[str, ...] = ()


def _read_text(source: Path, _: str) -> ReleasedSplit:
    pairs = {split: read_pairs(source / f"{split}.txt") for split in SPLITS}
    return ReleasedSplit(pairs, lambda _, kept: inter_lines(kept))


def _read_arrays(source: Path, _: str) -> ReleasedSplit:
    pairs = {split: read_array_pairs(source / f"{split}_list.npy") for split in SPLITS}
    return ReleasedSplit(pairs, lambda _, kept: timed_inter_lines(kept))


def _read_pickles(source: Path, _: str) -> ReleasedSplit:
    entries = {split: read_coo(source / file) for split, file in PICKLES.items()}
    shape = entries["train"].shape
    for split, found in entries.items():
        if found.shape != shape:
            raise UserError(
                f"{source / PICKLES[split]}: found the shape {found.shape}, expected {shape} as in "
                f"{PICKLES['train']}."
            )
    pairs = {
        split: zip(found.rows.tolist(), found.columns.tolist(), strict=True)
        for split, found in entries.items()
    }
    return ReleasedSplit(pairs, lambda _, kept: inter_lines(kept), n_items=shape[1])


def _read_mmrec(source: Path, name: str) -> ReleasedSplit:
    """Reads all rows: the splits share one file, in any order."""
    path = source / f"{name}.inter"
    lines = read_lines(path)
    number, header = next(lines)
    columns = header.split("\t")
    if not set(MMREC_IDS) <= set(columns):
        expected = f"the columns {', '.join(MMREC_IDS)}, separated by tabs"
        raise line_error(path, number, shown(header), expected)
    repeated = [column for n, column in enumerate(columns) if column in columns[:n]]
    if repeated:
        raise line_error(path, number, f"the column {shown(repeated[0])} again", "each once")
    numbers = [column for column in MMREC_NUMBERS if column in columns]
    pairs: dict[str, list[Pair]] = {split: [] for split in SPLITS}
    details: dict[str, dict[Pair, list[str]]] = {split: {} for split in SPLITS}
    for number, line in lines:
        fields = line.split("\t")
        if len(fields) != len(columns):
            found = f"{len(fields)} fields in {shown(line)}"
            raise line_error(path, number, found, f"{len(columns)} as in the header")
        row = dict(zip(columns, fields, strict=True))
        if row["x_label"] not in ("0", "1", "2"):
            expected = "0 (train), 1 (validation) or 2 (test)"
            raise line_error(path, number, f"x_label {shown(row['x_label'])}", expected)
        split = SPLITS[int(row["x_label"])]
        pair = parse_id(path, number, row["userID"]), parse_id(path, number, row["itemID"])
        pairs[split].append(pair)
        texts = [parse_number(path, number, column, row[column]) for column in numbers]
        details[split].setdefault(pair, texts)
    empty = [split for split in SPLITS if not pairs[split]]
    if empty:
        raise UserError(f"{path}: found no row of {' and '.join(empty)}, expected at least one.")
    header = "\t".join([INTER_HEADER, *(MMREC_NUMBERS[column] for column in numbers)])
    return ReleasedSplit(pairs, partial(_detailed_lines, header, details))


def _detailed_lines(
    header: str,
    details: Mapping[str, Mapping[Pair, list[str]]],
    split: str,
    pairs: Iterable[Pair],
) -> Iterator[str]:
    yield header
    for user, item in pairs:
        yield "\t".join([str(user), str(item), *details[split][user, item]])


FORMATS = {
    "text-split": SplitFormat(
        _read_text,
        "train.txt, valid.txt, test.txt with lines `user item`, and item_text.tsv (InfoDCL)",
        ITEM_TEXTS,
    ),
    "npy-split": SplitFormat(
        _read_arrays,
        "train_list.npy, valid_list.npy, test_list.npy of integers [n, 2], and item_titles.tsv "
        "(DiffRec); the order of rows becomes the field timestamp",
        ITEM_TITLES,
    ),
    "diffmm": SplitFormat(
        _read_pickles,
        "trnMat.pkl, valMat.pkl, tstMat.pkl of sparse matrices, and <modality>_feat.npy (DiffMM)",
        modalities=MODALITIES,
    ),
    "mmrec": SplitFormat(
        _read_mmrec,
        "<name>.inter with userID, itemID, x_label, and <modality>_feat.npy (MMRec)",
        modalities=MODALITIES,
    ),
}


def convert_split(
    source: Path,
    output: Path,
    name: str,
    kind: str = "text-split",
    overwrite: bool = False,
    drop_cross_duplicates: bool = False,
) -> ConversionReport:
    """Converts a folder with a released split.

    Writes ``<output>/<name>/<name>.{train,valid,test}.inter``, ``<name>.item`` if the folder has
    the format's table of items, and ``<name>.<modality>.npz`` for each of its
    ``<modality>_feat.npy``, with a row for every item of the interactions. A pair that a split
    repeats is kept once. Nothing appears under these names before all is checked and written.

    Args:
        source: Folder with the split.
        output: Folder of data sets; created if missing.
        name: Name of the data set.
        kind: Name of its format in ``FORMATS``.
        overwrite: Whether existing files may be replaced.
        drop_cross_duplicates: Whether a pair of several splits stays in train, else in valid,
            instead of being refused.

    Returns:
        The counts of what was written and left out.

    Raises:
        UserError: The name is no file name or one of RecBole's data sets, an input file is
            missing, empty or malformed, splits share pairs, or an output file exists.
    """
    form = FORMATS[kind]
    check_name(name, output)
    folder = output / name
    targets = {split: folder / f"{name}.{split}.inter" for split in SPLITS}
    item_target = folder / f"{name}.item"
    features = {modality: folder / f"{name}.{modality}.npz" for modality in form.modalities}
    check_targets([*targets.values(), item_target, *features.values()], overwrite)

    parts = form.read(source, name)
    distinct, duplicates = {}, {}
    for split in SPLITS:
        distinct[split], duplicates[split] = drop_duplicates(parts.pairs[split])
    splits, cross_duplicates = separate_splits(source, distinct, drop_cross_duplicates)
    items = sorted({item for pairs in splits.values() for _, item in pairs})

    contents: dict[Path, Content] = {
        targets[split]: parts.lines(split, splits[split]) for split in SPLITS
    }
    if form.items is None:
        check_stale(item_target, f"{kind} has no table of items")
    else:
        contents |= _item_contents(source / form.items.file, form.items, item_target)
    widths = {}
    for modality, target in features.items():
        path = source / f"{modality}_feat.npy"
        if not is_file_or_absent(path):
            check_stale(target, f"{path.parent} has no {path.name}")
            continue
        matrix = open_matrix(path)
        _check_rows(path, matrix, items[-1], parts.n_items)
        contents[target] = feature_writer(path, matrix, np.array(items))
        widths[modality] = matrix.shape[1]
    write_files(contents)
    return ConversionReport(
        users=len({user for pairs in splits.values() for user, _ in pairs}),
        items=len(items),
        interactions={split: len(pairs) for split, pairs in splits.items()},
        duplicates=duplicates,
        cross_duplicates=cross_duplicates,
        features=widths,
    )


def _check_rows(path: Path, matrix: np.ndarray, last_item: int, n_items: int | None) -> None:
    """A row's number is its item."""
    if n_items is not None and len(matrix) != n_items:
        raise UserError(f"{path}: found {len(matrix)} rows, expected {n_items}, one for each item.")
    if len(matrix) <= last_item:
        raise UserError(
            f"{path}: found {len(matrix)} rows, expected one for each item up to {last_item}."
        )


def _item_contents(path: Path, table: ItemTable, target: Path) -> dict[Path, Content]:
    if not is_file_or_absent(path):
        check_stale(target, f"{path.parent} has no {path.name}")
        return {}
    return {target: _item_lines(table, read_item_texts(path, table))}


def read_item_texts(path: Path, table: ItemTable = ITEM_TEXTS) -> dict[int, list[str]]:
    """Reads a released table of items.

    Args:
        path: Tab-separated UTF-8 file.
        table: Its header, and the columns wanted.

    Returns:
        Texts of the wanted columns by item, in the order of the file.

    Raises:
        UserError: The file cannot be read, has another header, a malformed line, an item twice,
            or a text that an atomic file cannot hold; the message names file and line.
    """
    lines = read_lines(path)
    number, header = next(lines)
    expected = "\t".join(table.header)
    if header != expected:
        raise line_error(path, number, shown(header), f"the header {expected!r}")
    texts: dict[int, list[str]] = {}
    for number, line in lines:
        fields = line.split("\t", maxsplit=len(table.header) - 1)
        if len(fields) != len(table.header):
            found = f"{len(fields)} fields in {shown(line)}"
            wanted = f"{len(table.header)}, separated by tabs: `{' '.join(table.header)}`"
            raise line_error(path, number, found, wanted)
        item = parse_id(path, number, fields[0])
        if item in texts:
            raise line_error(path, number, f"item {item} again", "one line per item")
        row = dict(zip(table.header, fields, strict=True))
        for text in fields[1:]:
            _check_text(path, number, text)
        texts[item] = [change(row[column]) for column, change in table.columns.values()]
    if not texts:
        raise UserError(f"{path}: found a header only, expected at least one item.")
    return texts


def _check_text(path: Path, number: int, text: str) -> None:
    for character, called in (("\t", "a tab"), ("\r", "a carriage return")):
        if character in text:
            found = f"{called} inside the text {shown(text)}"
            raise line_error(path, number, found, "text without tabs and line breaks")


def _item_lines(table: ItemTable, texts: Mapping[int, list[str]]) -> Iterator[str]:
    yield "\t".join(["item_id:token", *(f"{column}:token_seq" for column in table.columns)])
    for item, columns in texts.items():
        yield "\t".join([str(item), *columns])


def format_report(report: ConversionReport) -> str:
    """Formats a report as a short table, one line per split."""
    row = "{:<6}{:>14}{:>20}{:>27}".format
    lines = [
        f"{report.users} users, {report.items} items",
        row("split", "interactions", "duplicates removed", "also in an earlier split"),
    ]
    lines += [
        row(split, count, report.duplicates[split], report.cross_duplicates[split])
        for split, count in report.interactions.items()
    ]
    lines += [
        f"{modality} features: {report.items} x {width}"
        for modality, width in report.features.items()
    ]
    return "\n".join(lines) + "\n"

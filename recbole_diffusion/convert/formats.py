"""What files can be: formats without a split by name, and a guess from names and first lines."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.convert import split_formats
from recbole_diffusion.convert.amazon import read_amazon
from recbole_diffusion.convert.interactions import Interactions
from recbole_diffusion.convert.lists import read_lists, read_pairs, read_sequences
from recbole_diffusion.convert.microlens import PAIRS, TITLES, read_microlens
from recbole_diffusion.convert.movielens import read_movielens
from recbole_diffusion.convert.records import is_parquet
from recbole_diffusion.convert.roles import is_of_amazon, tables_of
from recbole_diffusion.convert.sources import head_lines, near_name
from recbole_diffusion.convert.tables import TableOptions, n_fields
from recbole_diffusion.convert.user_columns import CsvOptions


@dataclass(frozen=True)
class InteractionsFormat:
    """How interactions without a split are stored.

    Attributes:
        read: Gives the interactions from the source.
        source: What the source is, for the command line.
        help: What it is, likewise.
    """

    read: Callable[..., Interactions]
    source: str
    help: str


FORMATS = {
    "microlens": InteractionsFormat(
        read_microlens,
        "folder with MicroLens-50k's pairs and titles",
        "MicroLens-50k: each user's items in order of time, and titles",
    ),
    "movielens-1m": InteractionsFormat(
        read_movielens,
        "folder with ratings.dat, movies.dat and, if there is one, users.dat",
        "MovieLens-1M and 10M: ratings with times, titles and genres, and users",
    ),
    "amazon": InteractionsFormat(
        read_amazon,
        "reviews, one JSON object a line; packed or plain",
        "Amazon reviews of 2014, 2018 or 2023, with titles, categories, brands and descriptions",
    ),
    "pairs": InteractionsFormat(
        read_pairs, "lines `user item` or `user item weight`", "pairs of a user and an item"
    ),
    "ordered-pairs": InteractionsFormat(
        partial(read_pairs, ordered=True),
        "lines `user item`, earlier ones first",
        "pairs in order of time (SASRec)",
    ),
    "lists": InteractionsFormat(
        read_lists, "lines `user item item ...`", "each user's items in order of time"
    ),
    "sequences": InteractionsFormat(
        read_sequences, "lines `item item ...`, a user each", "a sequence of items a line"
    ),
}
OWN = ("pairs", "ordered-pairs", "lists", "sequences")
TABLE = "table"
MAX_COLUMNS = 4  # of a table without a header: user, item, rating and time
ID_WORD = re.compile(r"[\w.-]+")
MOVIELENS = {"ratings.csv", "movies.csv"}
MOVIELENS_FILES = {"ratings.dat", "movies.dat", "users.dat"}
PICKLES = {name for names in split_formats.PICKLES.values() for name in names}
KINDS = (TABLE, *FORMATS, *split_formats.FORMATS)


@dataclass(frozen=True)
class Guess:
    """What files are taken for.

    Attributes:
        kind: One of ``KINDS``.
        source: The interactions, or the folder of a release.
        items: Table of items, if there is one.
        others: Files that are left out.
    """

    kind: str
    source: Path
    items: Path | None = None
    others: Sequence[Path] = ()


def guess(paths: Sequence[Path], options: CsvOptions, kind: str | None = None) -> Guess:
    """Finds out what files are.

    Args:
        paths: Files, or one folder.
        options: How tables are stored, and their columns that are named.
        kind: One of ``KINDS``, where it is given.

    Raises:
        UserError: A path is missing, or the files fit no kind or several.
    """
    for path in paths:
        if not path.exists():
            told = f"{path}: cannot be read (No such file or directory), expected a file"
            raise UserError(f"{told}{near_name(path) or '.'}")
    folder = paths[0] if paths[0].is_dir() else paths[0].parent
    stems = {path.name.split(".")[0] for path in paths}
    names = {path.name for path in paths}
    is_whole = (
        (len(paths) == 1 and paths[0].is_dir())
        or {"train", "test"} <= stems
        or names <= MOVIELENS_FILES <= names | {"users.dat"}
        or bool(names & PICKLES)
    )
    if kind in split_formats.FORMATS or kind in ("microlens", "movielens-1m"):
        return Guess(kind, folder)
    if is_whole and kind is None:
        found = _of_folder(folder)
        if len(found) == 1:
            return Guess(found[0], folder)
        if found:
            raise UserError(f"{folder}: found files of {' and '.join(found)}; choose one by --as.")
    files = [path for path in paths if path.is_file()]
    if len(paths) == 1 and paths[0].is_dir():
        files = sorted(path for path in folder.iterdir() if path.is_file() and _is_data(path))
        if MOVIELENS <= {path.name for path in files}:  # beside tags and links
            files = [path for path in files if path.name in MOVIELENS]
    if files != [options.items]:  # a table may tell of its own items
        files = [path for path in files if path != options.items]
    if not files:
        raise UserError(f"{folder}: found no file that holds data, expected at least one.")
    if kind is not None and len(files) == 1:
        return Guess(kind, files[0])
    if len(files) == 1:
        return _of_file(files[0], options.table)
    source, items, others = tables_of(files, options, needs_all=not paths[0].is_dir())
    is_amazon = items is not None and is_of_amazon(items, options)
    return Guess(kind or ("amazon" if is_amazon else TABLE), source, items, others)


def _is_data(path: Path) -> bool:
    name = path.name.lower()
    return not name.startswith((".", "readme", "license")) and path.suffix not in (".md", ".pdf")


def _of_folder(folder: Path) -> list[str]:
    names = {path.name for path in folder.iterdir()}
    found = []
    if {PAIRS, TITLES} <= names:
        found.append("microlens")
    if {"ratings.dat", "movies.dat"} <= names:
        found.append("movielens-1m")
    if "train_list.npy" in names:
        found.append("npy-split")
    if names & set(split_formats.PICKLES["train"]):
        found.append("diffmm")
    if {"train.txt", "test.txt"} <= names:
        lines = head_lines(folder / "train.txt")
        are_pairs = all(len(line.split()) == 2 for line in lines)
        found.append("text-split" if are_pairs and "valid.txt" in names else "list-split")
    inter = [name for name in names if name.endswith(".inter")]
    if len(inter) == 1:
        head = head_lines(folder / inter[0])
        if set(split_formats.MMREC_IDS) <= set(head[0].split("\t")):
            found.append("mmrec")
    return found


def _of_file(path: Path, options: TableOptions) -> Guess:
    if path.suffix == ".inter" and "mmrec" in _of_folder(path.parent):
        return Guess("mmrec", path.parent)
    if is_parquet(path):
        return Guess(TABLE, path)
    lines = head_lines(path, options.encoding)
    is_chosen = options.delimiter or options.columns or options.header is not None
    words = [line.split() for line in lines]
    lengths = {len(row) for row in words}
    has_delimiter = any(character in line for line in lines for character in ',;|"{:')
    are_ids = all(ID_WORD.fullmatch(word) for row in words for word in row)
    has_header = not any(word.isdigit() for word in words[0])
    n_columns = n_fields(lines, "\t")
    is_table = n_columns > 2 or (has_header and (n_columns == 2 or len(lengths) == 1))
    if is_chosen or has_delimiter or not are_ids or is_table:
        return Guess(TABLE, path)
    if len(lengths) == 1 and max(lengths) <= MAX_COLUMNS:
        return Guess("pairs" if lengths == {2} else TABLE, path)
    first = [row[0] for row in words]
    if (
        len(first) > 1
        and len(set(first)) == len(first)
        and first == sorted(first, key=lambda w: (len(w), w))
    ):
        return Guess("lists", path)
    raise UserError(
        f"{path}: found lines of {min(lengths)} to {max(lengths)} words, expected --as=lists "
        "(`user item item ...`) or --as=sequences (`item item ...`)."
    )

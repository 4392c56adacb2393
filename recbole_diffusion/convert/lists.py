"""Lines of ids separated by white space: pairs, lists of a user's items, sequences."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.convert.interactions import Interactions, is_repeated
from recbole_diffusion.convert.reading import line_error, shown
from recbole_diffusion.convert.sources import TextFile, look_through
from recbole_diffusion.convert.tables import BLOCK, STAND_IN
from recbole_diffusion.convert.values import ids_of, numbers_of


@dataclass(frozen=True)
class Words:
    """Words of a file.

    Attributes:
        path: The file.
        lines: Its lines [n], without empty ones at the end.
        words: All words [m], line by line.
        starts: Number of each line's first word [n].
        counts: Number of words of each line [n].
        notes: What the report says of it.
    """

    path: Path
    lines: pa.ChunkedArray
    words: pa.Array
    starts: np.ndarray
    counts: np.ndarray
    notes: tuple[str, ...]

    def refuse(self, is_bad: np.ndarray, expected: str) -> None:
        """Names the first line of a mask [n], by its number of words.

        Raises:
            UserError: There is such a line.
        """
        if is_bad.any():
            n = int(is_bad.argmax())
            found = f"{self.counts[n]} fields in {shown(self.lines[n].as_py())}"
            raise line_error(self.path, n + 1, found, expected)


@dataclass(frozen=True)
class Place:
    """Names the line of a row.

    Attributes:
        path: The file.
        lines: Number of each row's line, counted from 0.
    """

    path: Path
    lines: np.ndarray

    def error(self, row: int, found: str, expected: str) -> UserError:
        """The error for a row, counted from 0, that names its line."""
        return line_error(self.path, int(self.lines[row]) + 1, found, expected)


def read_words(path: Path, encoding: str | None = None) -> Words:
    """Reads the words of each line.

    Args:
        path: Text file, plain or packed.
        encoding: As for ``look_through``.

    Raises:
        UserError: It cannot be read, holds nothing, or has an empty line before its last line.
    """
    text = look_through(path, encoding)
    try:
        lines = _lines(text)
    except pa.ArrowInvalid:
        numbered = enumerate(text.lines(), start=1)
        number = next((n for n, line in numbered if STAND_IN in line), 1)
        raise line_error(path, number, "the character 0x1f", "ids and white space") from None
    filled = np.flatnonzero(pc.not_equal(lines, "").to_numpy())
    if not len(filled):
        raise UserError(f"{path}: found no line, expected at least one.")
    lines = lines.slice(0, filled[-1] + 1)
    if len(filled) < len(lines):
        number = int((filled != np.arange(len(filled))).argmax()) + 1
        raise line_error(path, number, "an empty line", "empty lines only at the end")
    split = pc.ascii_split_whitespace(pc.ascii_trim_whitespace(lines)).combine_chunks()
    counts = pc.list_value_length(split).to_numpy(zero_copy_only=False).astype(np.int64)
    words = split.flatten()
    blank = pc.equal(pc.ascii_trim_whitespace(lines), "").to_numpy()
    if blank.any():  # one empty word each
        words = words.filter(pc.not_equal(words, ""))
        counts = np.where(blank, 0, counts)
    return Words(path, lines, words, np.cumsum(counts) - counts, counts, text.notes)


def _lines(text: TextFile) -> pa.ChunkedArray:
    """Lines of a file, a row each."""
    return pyarrow.csv.read_csv(
        text.stream(),
        pyarrow.csv.ReadOptions(use_threads=False, block_size=BLOCK, column_names=["line"]),
        pyarrow.csv.ParseOptions(delimiter=STAND_IN, quote_char=False, ignore_empty_lines=False),
        pyarrow.csv.ConvertOptions(column_types={"line": pa.large_string()}, null_values=[]),
    )["line"]


def read_pairs(path: Path, counting: bool = False, ordered: bool = False) -> Interactions:
    """Reads lines ``user item``, or ``user item weight``, all alike.

    Args:
        path: The file.
        counting: Whether lines have two fields, whole numbers from 0 on in UTF-8.
        ordered: Whether a row's place in the file is its time.

    Raises:
        UserError: A line has another number of fields, or what is no id or number.
    """
    words = read_words(path, "utf-8" if counting else None)
    n_fields = 3 if not counting and words.counts[0] == 3 else 2
    expected = "two: `user item`" if n_fields == 2 else "three: `user item weight`"
    words.refuse(words.counts != n_fields, expected)
    place = Place(path, np.arange(len(words.counts)))
    fields = [words.words.take(pa.array(words.starts + n)) for n in range(n_fields)]
    columns = [pa.chunked_array([field]) for field in fields]
    users, items = (ids_of(place, column, counting) for column in columns[:2])
    numbers = {"rating": numbers_of(place, "weight", columns[2])} if n_fields == 3 else {}
    if n_fields == 3 and (numbers["rating"] == 1).all():
        numbers = {}  # `u i 1` says no more than `u i`
    if ordered:
        numbers["timestamp"] = np.arange(len(words.counts), dtype=np.float64)
    order = f"{path.name}: the order of rows is no time; --as=ordered-pairs keeps it as one"
    notes = (*words.notes, *(() if counting or ordered else (order,)))
    return Interactions(path, users, items, numbers, notes=notes)


def read_lists(
    path: Path, encoding: str | None = None, counting: bool = False, need_items: bool = False
) -> Interactions:
    """Reads lines ``user item item ...``; the place in a line is the time.

    Args:
        path: The file.
        encoding: As for ``look_through``.
        counting: Whether ids are whole numbers from 0 on, and each user has one line.
        need_items: Whether a line without an item is refused.
    """
    words = read_words(path, encoding)
    words.refuse(words.counts < 1 + need_items, "`user item item ...`")
    parents = np.repeat(np.arange(len(words.counts)), words.counts)
    is_item = np.ones(len(parents), bool)
    is_item[words.starts] = False
    users = words.words.take(pa.array(words.starts))
    owners = ids_of(Place(path, np.arange(len(users))), pa.chunked_array([users]), counting)
    if counting and is_repeated(owners.indices.to_numpy()).any():
        line = int(is_repeated(owners.indices.to_numpy()).argmax())
        raise line_error(path, line + 1, f"user {users[line]} again", "one line per user")
    return _in_lists(words, lambda rows: owners.take(pa.array(rows)), parents, is_item, counting)


def read_sequences(path: Path) -> Interactions:
    """Reads lines ``item item ...``, a user each, whose number is the line's; in order of time."""
    words = read_words(path)
    words.refuse(words.counts < 1, "`item item ...`")
    parents = np.repeat(np.arange(len(words.counts)), words.counts)
    names = pa.array(np.arange(1, len(words.counts) + 1)).cast(pa.string())
    return _in_lists(
        words,
        lambda rows: pa.DictionaryArray.from_arrays(pa.array(rows.astype(np.int32)), names),
        parents,
        np.ones(len(parents), bool),
    )


def _in_lists(
    words: Words,
    users: Callable[[np.ndarray], pa.DictionaryArray],
    parents: np.ndarray,
    is_item: np.ndarray,
    counting: bool = False,
) -> Interactions:
    rows = parents[is_item]
    place = np.arange(len(parents)) - words.starts[parents] - (len(parents) > is_item.sum())
    items = pa.chunked_array([words.words.filter(pa.array(is_item))])
    coded = ids_of(Place(words.path, rows), items, counting)
    times = {"timestamp": place[is_item].astype(np.float64)}
    return Interactions(words.path, users(rows), coded, times, notes=words.notes)

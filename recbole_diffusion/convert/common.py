"""What all converters share: reading pairs of ids, their duplicates, writing atomic files."""

import gzip
import os
import re
import zlib
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.files import has_unfinished, remove_unfinished, unfinished_path
from recbole_diffusion.data.arrays import open_array, read_array
from recbole_diffusion.data.atomic import is_number
from recbole_diffusion.settings.folders import HOST_DATASETS

Pair = tuple[int, int]
# Lines without their ends, all bytes, or what writes to a stream.
Content = Iterable[str] | bytes | Callable[[BinaryIO], None]

INTER_HEADER = "user_id:token\titem_id:token"
TIMED_HEADER = f"{INTER_HEADER}\ttimestamp:float"
MAX_ID_DIGITS = 18  # the longest ids that always fit int64
MAX_SHOWN = 60
MAX_LINE = 2**26  # bytes
BREAKS = re.compile(r"\r\n|[\t\r\n]")  # what no atomic file holds inside a text


def read_pairs(path: Path) -> Iterator[Pair]:
    """Streams the ``user item`` lines of a text file.

    Args:
        path: UTF-8 file; each line holds two non-negative integers separated by white space.

    Yields:
        User and item of each line.

    Raises:
        UserError: The file cannot be read, holds nothing, or has a malformed line; the message
            names file and line.
    """
    for number, line in read_lines(path):
        fields = line.split()
        if len(fields) != 2:
            found = f"{len(fields)} fields in {shown(line)}"
            raise line_error(path, number, found, "two: `user item`")
        yield parse_id(path, number, fields[0]), parse_id(path, number, fields[1])


def read_array_pairs(path: Path) -> Iterator[Pair]:
    """Streams the ``[user, item]`` rows of a numpy file.

    Args:
        path: ``.npy`` file of non-negative integers [n, 2]; nothing in it is unpickled.

    Yields:
        User and item of each row.

    Raises:
        UserError: The file cannot be read, is of another kind or shape, holds nothing, or has a
            negative id; the message names the file and, for an id, the row, counted from 0.
    """
    expected = "a .npy file of integers [n, 2], rows `user item`"
    with _array_refusals(path, expected), path.open("rb") as file:
        pairs = read_array(file, path.stat().st_size)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.issubdtype(pairs.dtype, np.integer):
        found = f"{pairs.dtype} of shape {pairs.shape}"
        raise UserError(f"{path}: found {found}, expected {expected}.")
    if not len(pairs):
        raise UserError(f"{path}: found no row, expected at least one.")
    negative = np.flatnonzero((pairs < 0).any(axis=1))
    if len(negative):
        row = negative[0]
        found = f"{pairs[row].tolist()} ({len(negative)} such rows)"
        raise UserError(f"{path}, row {row}: found {found}, expected non-negative integers.")
    yield from map(tuple, pairs.tolist())


@contextmanager
def _array_refusals(path: Path, expected: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}), expected {expected}."
        ) from error
    except (ValueError, EOFError) as error:
        found = str(error).removeprefix("found ")
        raise UserError(f"{path}: found {found}, expected {expected}.") from error


def open_matrix(path: Path) -> np.ndarray:
    """Opens a matrix of numbers without loading it.

    Args:
        path: ``.npy`` file of floats [n, d]; nothing in it is unpickled.

    Returns:
        The matrix, mapped into memory; read-only.

    Raises:
        UserError: The file cannot be read, or is of another kind or shape.
    """
    expected = "a .npy file of floats [n, d]"
    with _array_refusals(path, expected):
        matrix = open_array(path)
    is_matrix = matrix.ndim == 2 and matrix.size > 0
    if not is_matrix or not np.issubdtype(matrix.dtype, np.floating):
        found = f"{matrix.dtype} of shape {matrix.shape}"
        raise UserError(f"{path}: found {found}, expected {expected}.")
    return matrix


def feature_writer(path: Path, matrix: np.ndarray, rows: np.ndarray) -> Callable[[BinaryIO], None]:
    """Gives what writes rows of a matrix as an ``.npz`` of features.

    Args:
        path: Where the matrix comes from, for messages.
        matrix: Floats [n, d].
        rows: Rows to write [m]; their numbers are the ids.

    Returns:
        Writes the arrays ``ids`` (texts) [m] and ``matrix`` (float32) [m, d] to a stream, and
        raises ``UserError`` at values that are not finite in float32.
    """

    def write(stream: BinaryIO) -> None:
        with np.errstate(over="ignore"):  # infinity is refused below
            kept = matrix[rows].astype(np.float32, copy=False)
        is_bad = ~np.isfinite(kept).all(axis=1)
        if is_bad.any():
            row = rows[is_bad][0]
            found = f"NaN or infinite values ({is_bad.sum()} such rows)"
            raise UserError(f"{path}, row {row}: found {found}, expected finite numbers.")
        np.savez(stream, ids=rows.astype(str), matrix=kept)

    return write


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Streams the lines of a UTF-8 file; empty lines are allowed at the end only.

    Args:
        path: Text file with Unix or Windows line ends.

    Yields:
        Line number, counted from 1, and the line without its end.

    Raises:
        UserError: The file cannot be read, holds nothing, is not UTF-8, or has an empty line
            before its last line.
    """
    last = 0
    for number, text in text_lines(path):
        line = text.removesuffix("\n").removesuffix("\r")
        if not line:
            continue
        if number > last + 1:
            raise line_error(path, last + 1, "an empty line", "empty lines only at the end")
        last = number
        yield number, line
    if not last:
        raise UserError(f"{path}: found no line, expected at least one.")


def text_lines(path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """Streams the lines of a text file, plain or compressed.

    Args:
        path: Text file; it is read as gzip if its name ends in ``.gz``.
        encoding: How its texts are stored.

    Yields:
        Line number, counted from 1, and the line with its end.

    Raises:
        UserError: The file cannot be read or is not of this encoding.
    """
    try:
        # Binary lines end at \n alone, so the numbers are those of an editor, whatever the text.
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            # Not without end: a gzip file of one line may be a thousand times its size.
            lines = iter(partial(file.readline, MAX_LINE + 1), b"")
            for number, raw in enumerate(lines, start=1):
                if len(raw) > MAX_LINE:
                    raise line_error(path, number, f"more than {MAX_LINE} bytes", "shorter lines")
                # A byte order mark is no part of the text.
                text = raw.removeprefix(BOM_UTF8) if number == 1 and encoding == "utf-8" else raw
                yield number, _decode(path, number, text, encoding)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        expected = "a gzip file of text" if path.suffix == ".gz" else "a text file"
        raise UserError(f"{path}: cannot be read ({reason}), expected {expected}.") from error


def _decode(path: Path, number: int, raw: bytes, encoding: str) -> str:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        found = f"the byte 0x{raw[error.start]:02x} at column {error.start + 1}"
        raise line_error(path, number, found, f"{encoding.upper()} text") from error


def parse_id(path: Path, number: int, text: str) -> int:
    """A non-negative integer id of a line.

    Raises:
        UserError: Another text; the message names file and line.
    """
    # int() alone would also take "+1", "1_0" and digits of other scripts.
    is_plain = text.isascii() and text.isdigit() and len(text) <= MAX_ID_DIGITS
    if not is_plain or text != str(int(text)):  # `01` would become `1`, another id
        expected = f"a non-negative integer of at most {MAX_ID_DIGITS} digits, no leading zeros"
        raise line_error(path, number, shown(text), expected)
    return int(text)


def parse_number(path: Path, number: int, column: str, text: str) -> str:
    """The text of a finite decimal number, without white space around it.

    Raises:
        UserError: Another text; the message names file, line and column.
    """
    text = text.strip()
    if not is_number(text):
        raise line_error(path, number, f"{column} {shown(text)}", "a finite number")
    return text


def on_one_line(text: str) -> str:
    """A text with a space for each tab and line break, which no atomic file holds."""
    return BREAKS.sub(" ", text)


def spaced_genres(text: str) -> str:
    """MovieLens' genres, ``A|B``, as a sequence of tokens."""
    return text.replace("|", " ")


def shown(text: str) -> str:
    """A text for a message: quoted, its end left out when long."""
    return repr(text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "...")


def line_error(path: Path, number: int, found: str, expected: str) -> UserError:
    """Builds the error for one line of an input file; ``number`` counts from 1."""
    return UserError(f"{path}, line {number}: found {found}, expected {expected}.")


def drop_duplicates(pairs: Iterable[Pair]) -> tuple[list[Pair], int]:
    """Keeps the first of equal pairs.

    Args:
        pairs: Pairs of one split.

    Returns:
        The distinct pairs in their order, and the number of pairs left out.
    """
    distinct: dict[Pair, None] = {}
    total = 0
    for pair in pairs:
        distinct[pair] = None
        total += 1
    return list(distinct), total - len(distinct)


class DistinctPairs:
    """Keeps the first of equal pairs of a stream, in a few dozen bytes a pair.

    Attributes:
        users: Number of each user, in the order of their first pairs.
        items: Number of each item, likewise.
        repeated: Pairs that were seen before.
    """

    def __init__(self) -> None:
        self.users: dict[str, int] = {}
        self.items: dict[str, int] = {}
        self.repeated = 0
        self._codes: set[int] = set()

    def __len__(self) -> int:
        """Number of distinct pairs."""
        return len(self._codes)

    def add(self, user: str, item: str) -> bool:
        """Takes the next pair of the stream; True if it is new."""
        row = self.users.setdefault(user, len(self.users))
        code = row << 32 | self.items.setdefault(item, len(self.items))
        if code in self._codes:
            self.repeated += 1
            return False
        self._codes.add(code)
        return True


def separate_splits(
    source: Path, splits: Mapping[str, list[Pair]], drop_cross_duplicates: bool
) -> tuple[dict[str, list[Pair]], dict[str, int]]:
    """Makes the splits disjoint, or refuses those that are not.

    Args:
        source: Where the splits come from, for the error message.
        splits: Distinct pairs by split, the split that keeps a shared pair first.
        drop_cross_duplicates: Whether to drop a shared pair from all splits but its first.

    Returns:
        The disjoint splits, and the number of dropped pairs by split.

    Raises:
        UserError: Splits share pairs and ``drop_cross_duplicates`` is off, or dropping the shared
            pairs leaves a split empty.
    """
    overlaps = find_overlaps(splits)
    if any(overlaps.values()) and not drop_cross_duplicates:
        raise _overlap_error(source, overlaps)
    disjoint = {
        split: [pair for pair in pairs if pair not in overlaps[split]]
        for split, pairs in splits.items()
    }
    for split, pairs in disjoint.items():
        if not pairs:
            raise UserError(
                f"{source}: found every pair of the {split} split in an earlier split, "
                "expected at least one new pair."
            )
    return disjoint, {split: len(shared) for split, shared in overlaps.items()}


def find_overlaps(splits: Mapping[str, Iterable[Pair]]) -> dict[str, dict[Pair, str]]:
    """Finds the pairs that an earlier split holds already.

    Args:
        splits: Pairs by split, the split that keeps a shared pair first.

    Returns:
        For each split its pairs that occur in an earlier split, with the name of the first one.
    """
    first_split: dict[Pair, str] = {}
    overlaps: dict[str, dict[Pair, str]] = {}
    for split, pairs in splits.items():
        overlaps[split] = {}
        for pair in pairs:
            if first_split.setdefault(pair, split) != split:
                overlaps[split][pair] = first_split[pair]
    return overlaps


def _overlap_error(source: Path, overlaps: Mapping[str, Mapping[Pair, str]]) -> UserError:
    shared = {pair for pairs in overlaps.values() for pair in pairs}
    (user, item), first, later = next(
        (pair, first, split) for split, pairs in overlaps.items() for pair, first in pairs.items()
    )
    return UserError(
        f"{source}: found {len(shared)} pair(s) in more than one split, for example user {user} "
        f"with item {item} in {first} and {later}, expected disjoint splits "
        "(--drop-cross-duplicates keeps such a pair in its first split only)."
    )


def inter_lines(pairs: Iterable[Pair]) -> Iterator[str]:
    """Yields header and lines of an ``.inter`` file."""
    yield INTER_HEADER
    for user, item in pairs:
        yield f"{user}\t{item}"


def timed_inter_lines(pairs: Iterable[Pair]) -> Iterator[str]:
    """Yields header and lines of an ``.inter`` file whose times count its rows from 0."""
    yield TIMED_HEADER
    for row, (user, item) in enumerate(pairs):
        yield f"{user}\t{item}\t{row}"


def check_name(name: str, output: Path) -> None:
    """Refuses a data set's name that is no plain file name, or hides a data set of RecBole's.

    Args:
        name: The name.
        output: Folder of data sets; one of this name that is already there stays the user's.

    Raises:
        UserError: It holds a separator or other characters, starts with a dot or dash, or is that
            of a data set that RecBole carries.
    """
    # The name becomes a folder: no separator, no "..", nothing like an option.
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        expected = "a letter, digit or `_`, then also `-` and `.`"
        raise UserError(f"name: found {shown(name)}, expected {expected}.")
    carried = HOST_DATASETS / name
    if carried.is_dir() and not (output / name).is_dir():
        raise UserError(
            f"name: found {name!r}, which RecBole carries ({carried}) and which {output / name} "
            f"would hide; expected another name, such as --name=my-{name}."
        )


def check_targets(paths: Iterable[Path], overwrite: bool) -> None:
    """Refuses output paths that are taken.

    Args:
        paths: Files about to be written.
        overwrite: Whether existing files may be replaced.

    Raises:
        UserError: A path exists and ``overwrite`` is off, or it is no regular file.
    """
    for path in filter(os.path.lexists, paths):  # a link that leads nowhere is the user's too
        if not path.is_file():
            raise UserError(f"{path}: found something that is no file, expected a free path.")
        if not overwrite:
            is_half = has_unfinished(path.parent)
            half = "; an earlier conversion was stopped midway, so that these files may be parts"
            raise UserError(
                f"{path}: found an existing file, expected none (--overwrite replaces it)"
                f"{half if is_half else ''}."
            )


def check_stale(target: Path, reason: str) -> None:
    """Refuses a file of features that an earlier conversion left, and this one does not write.

    Args:
        target: The file.
        reason: Why it is not written.

    Raises:
        UserError: The file exists: the host would join the old features to the new ids.
    """
    if target.exists():
        raise UserError(
            f"{target}: found features of an earlier conversion, expected none because {reason}; "
            "delete the file or add the features."
        )


def write_files(contents: Mapping[Path, Content]) -> None:
    """Writes files so that a failure while writing leaves all old files as they were.

    Everything goes to temporary files beside the targets first, in the order given; only then is
    each one moved into its place, interactions last.

    Args:
        contents: What to write by target path.

    Raises:
        UserError: A folder or file cannot be written.
    """
    parts = {path: unfinished_path(path) for path in contents}
    made: list[Path] = []
    try:
        try:
            for folder in {path.parent for path in contents}:
                made += _make_folder(folder)
                remove_unfinished(folder)
            for path, content in contents.items():
                _write(parts[path], content)
            # Interactions last: without them, what a killed process has moved is no data set.
            for path in sorted(parts, key=lambda path: path.suffix == ".inter"):
                os.replace(parts[path], path)
        except BaseException:
            for part in parts.values():
                part.unlink(missing_ok=True)
            with suppress(OSError):  # no longer empty
                for folder in reversed(made):
                    folder.rmdir()
            raise
    except OSError as error:
        # The whole error: it names no file when the disk is full.
        raise UserError(
            f"output files: cannot be written ({error}), expected a writable folder with room."
        ) from error


def _make_folder(folder: Path) -> list[Path]:
    """Folders that were missing, the outermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing[::-1]


def _write(path: Path, content: Content) -> None:
    if callable(content):
        with path.open("wb") as stream:
            content(stream)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for line in content)

"""Reading of released files, line by line; what does not fit is named by its line."""

import gzip
import re
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.convert.common import Pair
from recbole_diffusion.data.arrays import open_array, read_array
from recbole_diffusion.data.atomic import is_number

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

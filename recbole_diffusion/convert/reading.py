"""What converters share: numpy files, and messages that name a line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.data.arrays import open_array, read_array

MAX_SHOWN = 60


def read_array_pairs(path: Path) -> np.ndarray:
    """Reads the ``[user, item]`` rows of a numpy file.

    Args:
        path: ``.npy`` file of non-negative integers [n, 2]; nothing in it is unpickled.

    Returns:
        User and item of each row [n, 2], integers.

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
    return pairs.astype(pairs.dtype.newbyteorder("="), copy=False)


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


def shown(text: str) -> str:
    """A text for a message: quoted, its end left out when long."""
    return repr(text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "...")


def line_error(path: Path, number: int, found: str, expected: str) -> UserError:
    """Builds the error for one line of an input file; ``number`` counts from 1."""
    return UserError(f"{path}, line {number}: found {found}, expected {expected}.")

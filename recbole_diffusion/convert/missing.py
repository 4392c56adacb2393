"""Rows that lack what each row must have."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recbole_diffusion.base.errors import UserError


class Rows:
    """Rows of a table of which some are left out; errors name the lines of the others.

    Args:
        table: As ``open_table`` gives it.
        kept: Numbers of the rows that are left, from 0.
        n_dropped: How many are not.
    """

    def __init__(self, table: Any, kept: np.ndarray, n_dropped: int) -> None:
        self._table, self._kept, self.n_dropped = table, kept, n_dropped

    def error(self, row: int, found: str, expected: str) -> UserError:
        """The error for a row, counted from 0 among those that are left."""
        error: UserError = self._table.error(int(self._kept[row]), found, expected)
        return error


def without_missing(rows: pa.Table, table: Any, columns: Sequence[str]) -> tuple[pa.Table, Rows]:
    """Leave out rows that have nothing, or blanks alone, in one of the columns.

    Args:
        rows: Of a table.
        table: As ``open_table`` gives it.
        columns: Some of its columns.
    """
    is_kept = np.ones(len(rows), dtype=bool)
    for column in columns:
        is_kept &= _is_there(rows[column])
    left = rows.filter(pa.array(is_kept))
    for column in columns:
        at = left.column_names.index(column)
        left = left.set_column(at, column, _plain(left[column]))
    kept = np.flatnonzero(is_kept)
    return left, Rows(table, kept, len(rows) - len(kept))


def _is_there(column: pa.ChunkedArray) -> np.ndarray:
    there = pc.invert(pc.is_null(column, nan_is_null=True))
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        filled = pc.not_equal(pc.utf8_trim_whitespace(column.cast(pa.large_string())), "")
        there = pc.and_(there, pc.fill_null(filled, False))
    found: np.ndarray = there.to_numpy().astype(bool)
    return found


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Without texts that no row has any more, and ids that were floats beside missing ones."""
    if pa.types.is_dictionary(column.type):
        return column.cast(pa.string())
    if pa.types.is_floating(column.type) and pc.all(pc.equal(column, pc.floor(column))).as_py():
        return column.cast(pa.int64())
    return column

"""Feature vectors in Parquet files: one column of lists, or columns of numbers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recbole_diffusion.base.errors import UserError, refusals_of
from recbole_diffusion.data.feature_table import Block, FeatureTable, block_length

INDEX = "__index_level_"


def open_parquet(path: Path, id_column: str, columns: Sequence[str]) -> FeatureTable:
    """A file's vectors, read by blocks of rows; see ``feature_files.read_table``.

    Raises:
        UserError: A column that is missing or of another kind, a row without an id, no row, or,
            while the values are read, vectors of unequal length.
    """
    with _readable(path):
        return _open(path, id_column, columns)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    kinds = (ValueError, OSError, EOFError, pa.ArrowException)
    with refusals_of(f"{path}: not a readable array file", *kinds):
        yield


def _open(path: Path, id_column: str, columns: Sequence[str]) -> FeatureTable:
    # No buffers of whole row groups.
    file = pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20)
    schema = file.schema_arrow
    for name in (id_column, *columns):
        if name not in schema.names:
            raise UserError(
                f"{path}: found the columns {', '.join(schema.names)}, expected {name} among them"
            )
    chosen = list(columns) or _vector_columns(path, schema, id_column)
    kinds = [schema.field(name).type for name in chosen]
    is_list = len(chosen) == 1 and _is_list(kinds[0])
    if not is_list and not all(_is_number(kind) for kind in kinds):
        described = ", ".join(f"{n} ({k})" for n, k in zip(chosen, kinds, strict=True))
        raise UserError(
            f"{path}: found {described}, expected one column of lists, or columns of numbers"
        )
    ids = file.read([id_column]).column(id_column)
    if ids.null_count:
        raise UserError(f"{path}: column {id_column}: found {ids.null_count} rows without an id")
    names = np.array(ids.cast(pa.string()).to_pylist(), dtype=str)
    if not len(names):
        raise UserError(f"{path}: found no row, expected at least one")
    width = _list_width(file, chosen[0]) if is_list else len(chosen)
    kind = str(kinds[0].value_type if is_list else kinds[0])
    blocks = _parquet_blocks(path, file, names, chosen, width, is_list)
    return FeatureTable(str(path), names, width, kind, blocks)


def _vector_columns(path: Path, schema: pa.Schema, id_column: str) -> list[str]:
    # Row numbers that pandas has written.
    others = [f for f in schema if f.name != id_column and not f.name.startswith(INDEX)]
    lists = [field.name for field in others if _is_list(field.type)]
    if len(lists) > 1:
        raise UserError(
            f"{path}: found several columns of lists ({', '.join(lists)}), expected one named by "
            "the option `columns`"
        )
    found = lists or [field.name for field in others if _is_number(field.type)]
    if not found:
        raise UserError(
            f"{path}: found the columns {', '.join(schema.names)}, expected beside {id_column} a "
            "column of lists of numbers, or columns of numbers"
        )
    return found


def _is_list(kind: pa.DataType) -> bool:
    is_list = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(check(kind) for check in is_list) and _is_number(kind.value_type)


def _is_number(kind: pa.DataType) -> bool:
    kinds = (pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean)
    return any(check(kind) for check in kinds)


def _list_width(file: pq.ParquetFile, column: str) -> int:
    first = next(file.iter_batches(batch_size=1, columns=[column])).column(0)[0].as_py()
    return len(first or ())


def _parquet_blocks(
    path: Path,
    file: pq.ParquetFile,
    ids: np.ndarray,
    columns: list[str],
    width: int,
    is_list: bool,
) -> Iterator[Block]:
    start, step = 0, block_length(width)
    with _readable(path), file:
        # Threads would each hold a block.
        for batch in file.iter_batches(batch_size=step, columns=columns, use_threads=False):
            rows = slice(start, start + len(batch))
            if is_list:
                lists = batch.column(0)
                _check_lengths(path, ids[rows], lists, width)
                values = lists.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
            else:
                # In the order asked for; a missing number becomes NaN.
                parts = [batch.column(name).to_numpy(zero_copy_only=False) for name in columns]
                values = np.column_stack(parts)
            yield rows, slice(0, width), values
            start = rows.stop


def _check_lengths(path: Path, ids: np.ndarray, lists: pa.Array, width: int) -> None:
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy()
    other = np.flatnonzero((lengths != width) | (lengths == 0))
    if len(other):
        raise UserError(
            f"{path}: found a vector of {lengths[other[0]]} numbers for {str(ids[other[0]])!r}, "
            f"expected {width or 'at least one'}, as for the first id"
        )

"""Files of feature vectors: their readers, block by block, and the writer of our own format."""

import lzma
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from recbole_diffusion.base.errors import UserError, refusals_of
from recbole_diffusion.base.files import written_whole
from recbole_diffusion.data.arrays import read_array, read_header
from recbole_diffusion.data.feature_table import Block, FeatureTable, block_length

# An archive raises RuntimeError where it is encrypted or packed by an unknown method.
DAMAGED_ARCHIVE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError)
UNREADABLE = (ValueError, OSError, EOFError, *DAMAGED_ARCHIVE)
SUFFIXES = (".npz", ".npy", ".parquet")


def read_table(
    path: str | Path,
    id_column: str = "item_id",
    ids: str | Path | None = None,
    columns: Sequence[str] = (),
) -> FeatureTable:
    """Open a file of feature vectors; its values are read as they are asked for.

    Args:
        path: ``.npz`` with arrays ``ids`` and ``matrix`` [n, width], ``.npy`` [n, width] beside a
            text file with one id a line, or ``.parquet`` with a column of ids and either one
            column of lists or columns of numbers.
        id_column: Column of the ids in a ``.parquet``.
        ids: File of the ids of a ``.npy``; default: the same name ending in ``.ids``.
        columns: Columns of a ``.parquet`` to take; default: the only one of lists, else all of
            numbers.

    Raises:
        UserError: File missing or of another kind, or wrong shape; for what only the values
            tell, while they are read.
    """
    if not str(path):
        raise UserError("found an empty path, expected a .npz, .npy or .parquet file")
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such file")
    if not path.is_file():
        raise UserError(f"{path}: found no plain file, expected a .npz, .npy or .parquet file")
    if path.suffix not in SUFFIXES:
        raise UserError(
            f"{path}: found a {path.suffix or 'suffixless'} file, expected .npz, .npy or .parquet"
        )
    if path.suffix == ".parquet":
        # Late: pyarrow is slow to load, and nothing else needs it.
        from recbole_diffusion.data.parquet import open_parquet

        return open_parquet(path, id_column, columns)
    with _readable(path):
        if path.suffix == ".npz":
            return _open_array(path, _ids_of_archive(path), "matrix.npy")
        return _open_array(path, _ids_beside(path, ids), None)


def write_features(path: str | Path, ids: Any, matrix: Any) -> None:
    """Write a ``.npz`` that ``item_features`` reads; the file is whole or absent.

    Args:
        path: Target, ending in ``.npz``; its folder is made if it is missing.
        ids: Original item ids [n], texts or whole numbers, each once.
        matrix: Numbers [n, width]; anything but float16 and float32 is stored as float32.

    Raises:
        UserError: Another suffix or shape, repeated ids, NaN or infinite values, or a folder that
            cannot be written to.
    """
    path, ids, matrix = Path(path), np.asarray(ids), np.asarray(matrix)
    if path.suffix != ".npz":
        raise UserError(f"{path}: found a {path.suffix or 'suffixless'} file, expected .npz")
    if matrix.dtype not in (np.float16, np.float32):
        with (
            np.errstate(over="ignore"),
            refusals_of(f"{path}: not a matrix of numbers", ValueError),
        ):
            matrix = matrix.astype(np.float32)  # infinity is refused below
    ids = ids.astype(str)
    _check_shape(path, ids, matrix.shape, matrix.dtype)
    check_unique(str(path), ids)
    check_finite(str(path), ids, matrix)
    with refusals_of(f"{path}: cannot be written", OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as stream:
            np.savez(stream, ids=ids, matrix=matrix)


def check_unique(source: str, ids: np.ndarray) -> None:
    """Refuse ids that are given more than once.

    Raises:
        UserError: Some are; the message shows the first of them.
    """
    unique, counts = np.unique(ids, return_counts=True)
    if len(unique) < len(ids):
        raise UserError(f"{source}: ids given more than once: {examples(unique[counts > 1])}")


def check_finite(source: str, ids: np.ndarray, matrix: np.ndarray) -> None:
    """Refuse NaN and infinity, in blocks of rows.

    Args:
        source: The file, for the message.
        ids: Original id of each row [n].
        matrix: [n, width].

    Raises:
        UserError: Some value is one; the message shows the first ids of such rows.
    """
    step = block_length(matrix.shape[1])
    starts = range(0, len(matrix), step)
    is_bad = [~np.isfinite(matrix[start : start + step]).all(axis=1) for start in starts]
    bad = np.concatenate(is_bad) if is_bad else np.zeros(0, dtype=bool)
    if bad.any():
        raise UserError(f"{source}: NaN or infinite values in {examples(ids[bad])}")


def examples(ids: np.ndarray) -> str:
    """Number of some ids, and the first three."""
    shown = ", ".join(repr(i) for i in ids[:3].tolist())
    return (
        f"{len(ids)} {'id' if len(ids) == 1 else 'ids'} ({shown}{', ...' if len(ids) > 3 else ''})"
    )


def _check_shape(path: Path, ids: np.ndarray, shape: tuple[int, ...], dtype: np.dtype) -> None:
    if ids.ndim != 1:
        raise UserError(f"{path}: found ids of shape {ids.shape}, expected one dimension")
    beside = " in the file of ids beside it" if path.suffix == ".npy" else ""
    fits = len(shape) == 2 and len(ids) == shape[0] and shape[1] > 0
    if not fits or not np.issubdtype(dtype, np.floating):
        raise UserError(
            f"{path}: found {len(ids)} ids{beside} and a {dtype} matrix of shape {shape}, "
            "expected floats of shape (number of ids, width)"
        )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    with refusals_of(f"{path}: not a readable array file", *UNREADABLE):
        yield


def _ids_of_archive(path: Path) -> np.ndarray:
    with zipfile.ZipFile(path) as archive:
        missing = {"ids.npy", "matrix.npy"} - set(archive.namelist())
        if missing:
            name = missing.pop().removesuffix(".npy")
            raise UserError(f"{path}: expected the arrays `ids` and `matrix`: no {name}")
        with archive.open("ids.npy") as stream:
            ids = read_array(stream, archive.getinfo("ids.npy").file_size)
    return ids.astype(str)


def _ids_beside(path: Path, given: str | Path | None) -> np.ndarray:
    ids_path = Path(given) if given is not None else path.with_suffix(".ids")
    if not ids_path.is_file():
        raise UserError(f"{path}: expected the file {ids_path} beside it, one id a line")
    no_text = refusals_of(f"{ids_path}: not UTF-8 text, one id a line", UnicodeDecodeError)
    with no_text, ids_path.open(encoding="utf-8-sig") as lines:
        return np.array([line.removesuffix("\n") for line in lines], dtype=str)


def _open_array(path: Path, ids: np.ndarray, member: str | None) -> FeatureTable:
    with _array_stream(path, member) as (stream, size):
        shape, _, dtype = read_header(stream, size)
    _check_shape(path, ids, shape, dtype)
    return FeatureTable(str(path), ids, shape[1], str(dtype), _array_blocks(path, member))


@contextmanager
def _array_stream(path: Path, member: str | None) -> Iterator[tuple[Any, int]]:
    """The bytes of an array, in a file of its own or in an archive, and their number."""
    if member is None:
        with path.open("rb") as stream:
            yield stream, path.stat().st_size
    else:
        with zipfile.ZipFile(path) as archive, archive.open(member) as part:
            yield part, archive.getinfo(member).file_size


def _array_blocks(path: Path, member: str | None) -> Iterator[Block]:
    with _readable(path), _array_stream(path, member) as (stream, size):
        (n_rows, width), is_fortran, dtype = read_header(stream, size)
        outer, inner = (width, n_rows) if is_fortran else (n_rows, width)
        step = block_length(inner)
        for start in range(0, outer, step):
            part = slice(start, min(start + step, outer))
            shape = (part.stop - part.start, inner)
            content = stream.read(shape[0] * shape[1] * dtype.itemsize)
            values = np.frombuffer(content, dtype).reshape(shape)
            yield (
                (slice(0, n_rows), part, values.T)
                if is_fortran
                else (
                    part,
                    slice(0, width),
                    values,
                )
            )
        stream.read(1)  # at its end an archive compares its checksum

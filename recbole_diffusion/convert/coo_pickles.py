"""Reading sparse matrices that DiffMM's authors released as pickles; nothing in them is run.

A pickle names functions to call. Here those of a ``coo_matrix`` alone are known, and each stands
for a record of what it was given: no module is imported, and nothing of scipy or numpy is called
before all has been checked.
"""

import io
import pickle
import pickletools
import re
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from recbole_diffusion.base.errors import UserError, refusals_of

INDEX_TYPE = re.compile(r"[iu][48]")
VALUE_TYPE = re.compile(r"b1|[iu][1248]|f[248]")
MAX_ENTRIES = 2**31
MAX_MEMO = 1000  # objects; a matrix of three arrays has a few dozen
BYTE_ORDERS = ("<", ">", "|", "=")


@dataclass(frozen=True)
class CooEntries:
    """Entries of a sparse matrix.

    Attributes:
        shape: Number of rows and columns.
        rows: Row of each entry [n], int64.
        columns: Column of each entry [n], int64.
    """

    shape: tuple[int, int]
    rows: np.ndarray
    columns: np.ndarray


class _Matrix:
    """Stands for ``coo_matrix``."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Type:
    """Stands for ``numpy.dtype``, made as ``dtype("i4", align, copy)``."""

    byte_order: Any = None

    def __init__(self, name: Any, *_: Any) -> None:
        self.name = name

    def __setstate__(self, state: Any) -> None:
        self.byte_order = state[1]


class _Array:
    """Stands for ``numpy.ndarray``, whose state is version, shape, type, order and bytes.

    It also stands for what makes one, as ``_reconstruct(ndarray, shape, type)``: no function is
    handed out, since a pickle can set the attributes of one.
    """

    state: Any = None

    def __init__(self, kind: Any, *_: Any) -> None:
        if kind is not _Array:
            raise TypeError("an array made of another type")

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Buffered(_Array):
    """An array of protocol 5, made as ``_frombuffer(bytes, type, shape, order)``."""

    def __init__(self, content: Any, dtype: Any, shape: Any, order: Any) -> None:
        self.state = (1, shape, dtype, order == "F", content)


class _Encoded(bytes):
    """Bytes of protocol 2, made as ``encode(text, "latin1")``."""

    def __new__(cls, text: Any, encoding: Any) -> "_Encoded":
        if type(text) is not str or encoding != "latin1":
            raise TypeError("bytes made of something else than a text in latin1")
        return super().__new__(cls, text, encoding)

    def __setstate__(self, state: Any) -> None:
        raise TypeError("bytes with a state")


BYTES = (bytes, bytearray, _Encoded)  # protocol 5 has the second, protocol 2 the third
KNOWN = {
    **{
        (f"scipy.sparse.{module}", f"{module.strip('_')}_matrix"): _Matrix
        for module in ("coo", "_coo", "csr", "_csr")
    },
    ("_codecs", "encode"): _Encoded,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.numeric", "_frombuffer"): _Buffered,
    ("numpy._core.numeric", "_frombuffer"): _Buffered,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
}


class CooUnpickler(pickle.Unpickler):
    """Knows the names in ``KNOWN`` and refuses every other.

    Args:
        file: The pickle.
        path: Where it lies, for messages.
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        super().__init__(file, encoding="latin1")  # of Python 2, where bytes were texts
        self.path = path

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name.

        Args:
            module: Where the name is from.
            name: The name.

        Raises:
            UserError: It is not in ``KNOWN``.
        """
        if (module, name) not in KNOWN:
            raise UserError(
                f"{self.path}: found {f'{module}.{name}'!r} in the pickle, expected a coo_matrix "
                "or csr_matrix and its arrays only; nothing was run."
            )
        return KNOWN[module, name]


def read_coo(path: Path) -> CooEntries:
    """Reads a pickled ``scipy.sparse.coo_matrix`` or ``csr_matrix``.

    Args:
        path: Pickle of protocol 2 to 5; its values are finite and above 0.

    Returns:
        Shape and entries, in their order.

    Raises:
        UserError: The file cannot be read, holds anything else than one such matrix, or a matrix
            whose arrays contradict each other.
    """
    wrong = f"{path}: not a pickle of a coo_matrix"
    with refusals_of(wrong, Exception):
        content = path.read_bytes()
        _check_memo(path, content)
        return _entries(path, CooUnpickler(io.BytesIO(content), path).load())


def _check_memo(path: Path, content: bytes) -> None:
    """Refuse numbers of the memo that no pickle needs: it is a list, filled up to the largest."""
    for operation, argument, _ in pickletools.genops(content):
        if operation.name in ("PUT", "LONG_BINPUT") and int(argument or 0) > MAX_MEMO:
            raise UserError(
                f"{path}: found the memo's number {argument}, expected at most {MAX_MEMO}."
            )


def _entries(path: Path, matrix: Any) -> CooEntries:
    if type(matrix) is not _Matrix or type(matrix.state) is not dict:
        raise UserError(f"{path}: found {type(matrix).__name__.strip('_')}, expected a coo_matrix.")
    state = matrix.state
    shape = state.get("_shape")
    if type(shape) is not tuple or [type(n) for n in shape] != [int, int] or min(shape) < 1:
        raise UserError(
            f"{path}: found the shape {reprlib.repr(shape)}, expected two whole numbers above 0."
        )
    # scipy keeps the pair `coords` from 1.13 on.
    coords = state.get("coords", (state.get("row"), state.get("col")))
    if "indptr" in state:
        coords = _row_of_each(path, state["indptr"], shape[0]), state.get("indices")
    if type(coords) is not tuple or len(coords) != 2:
        raise UserError(f"{path}: found no row and column of each entry, expected a coo_matrix.")
    rows = _indices(path, "rows", coords[0], shape[0])
    columns = _indices(path, "columns", coords[1], shape[1])
    values = _plain_array(path, "values", state.get("data"), VALUE_TYPE)
    if not len(rows) == len(columns) == len(values):
        found = f"{len(rows)} rows, {len(columns)} columns and {len(values)} values"
        raise UserError(f"{path}: found {found}, expected one of each for every entry.")
    if not len(values):
        raise UserError(f"{path}: found no entry, expected at least one.")
    if not (np.isfinite(values) & (values > 0)).all():
        raise UserError(
            f"{path}: found NaN, infinite, zero or negative values, expected those of "
            "interactions, above 0."
        )
    return CooEntries(shape, rows, columns)


def _indices(path: Path, what: str, array: Any, size: int) -> np.ndarray:
    indices = _plain_array(path, what, array, INDEX_TYPE)
    if len(indices) and not 0 <= indices.min() <= indices.max() < size:
        found = f"{what} from {indices.min()} to {indices.max()}"
        raise UserError(f"{path}: found {found}, expected 0 to {size - 1}, by the matrix's shape.")
    return indices.astype(np.int64)


def _row_of_each(path: Path, array: Any, n_rows: int) -> np.ndarray:
    """Row of each entry of a ``csr_matrix``, from the numbers of the rows' first entries."""
    starts = _plain_array(path, "starts of rows", array, INDEX_TYPE).astype(np.int64)
    counts = np.diff(starts)
    is_sound = len(starts) == n_rows + 1 and starts[0] == 0 and (counts >= 0).all()
    if not is_sound or starts[-1] > MAX_ENTRIES:
        raise UserError(f"{path}: found starts of rows that do not rise from 0 to the entries.")
    return np.repeat(np.arange(n_rows), counts)


def _plain_array(path: Path, what: str, array: Any, types: re.Pattern[str]) -> np.ndarray:
    """The numbers [n] of an array's record."""
    if isinstance(array, np.ndarray):
        return array
    state = array.state if isinstance(array, _Array) else None
    if type(state) is not tuple or len(state) != 5:
        raise UserError(f"{path}: found no array of {what}, expected one of numbers.")
    _, shape, dtype, _, content = state
    if type(content) is str:  # of Python 2
        content = content.encode("latin-1")
    is_type = type(dtype) is _Type and type(dtype.name) is str and types.fullmatch(dtype.name)
    if not is_type or dtype.byte_order not in BYTE_ORDERS or type(content) not in BYTES:
        name = getattr(dtype, "name", dtype)
        raise UserError(
            f"{path}: found {what} of type {reprlib.repr(name)}, expected plain numbers."
        )
    numbers = np.frombuffer(content, np.dtype(dtype.byte_order + dtype.name))
    if shape != numbers.shape:
        raise UserError(
            f"{path}: found {what} of shape {reprlib.repr(shape)} with {len(numbers)} numbers."
        )
    return numbers

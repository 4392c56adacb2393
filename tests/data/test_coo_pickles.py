"""Pickles of sparse matrices: what is read of them, and that nothing else in them is touched."""

import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.convert.coo_pickles import KNOWN, CooUnpickler, read_coo

ROWS, COLUMNS, SHAPE = [4, 0, 4, 2], [1, 2, 1, 0], (5, 3)

# What the published files hold, written by hand: scipy's and numpy's old names, protocol 3.
PUBLISHED = b"""\x80\x03c%(scipy)s
coo_matrix
)\x81}(X\x06\x00\x00\x00_shapeK\x05K\x03\x86X\x03\x00\x00\x00row%(row)sX\x03\x00\x00\x00col%(col)s\
X\x04\x00\x00\x00data%(data)sub."""
ARRAY = b"""c%(numpy)s.multiarray
_reconstruct
cnumpy
ndarray
K\x00\x85C\x01b\x87R(K\x01K%(n)c\x85cnumpy
dtype
X\x02\x00\x00\x00%(type)s\x89\x88\x87R(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff\
K\x00tb\x89C%(size)c%(bytes)stb"""


def array(values: list[int], kind: str, numpy: bytes) -> bytes:
    content = np.array(values, dtype=f"<{kind}").tobytes()
    parts = {b"numpy": numpy, b"n": len(values), b"type": kind.encode()}
    return ARRAY % {**parts, b"size": len(content), b"bytes": content}


@pytest.fixture
def save(tmp_path: Path) -> Callable[[Any], Path]:
    """Write bytes, or an object's pickle."""

    def write(content: Any, protocol: int = 4) -> Path:
        path = tmp_path / "trnMat.pkl"
        is_bytes = isinstance(content, bytes)
        path.write_bytes(content if is_bytes else pickle.dumps(content, protocol))
        return path

    return write


def matrix(values: Any = (1.0, 1.0, 1.0, 2.0), kind: type = np.float64) -> sp.coo_matrix:
    return sp.coo_matrix((np.array(values, dtype=kind), (ROWS, COLUMNS)), shape=SHAPE)


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_coo(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message


def check(path: Path) -> None:
    found = read_coo(path)
    assert found.shape == SHAPE
    assert found.rows.tolist() == ROWS
    assert found.columns.tolist() == COLUMNS
    assert found.rows.dtype == found.columns.dtype == np.int64


@pytest.mark.parametrize("scipy", [b"scipy.sparse.coo", b"scipy.sparse._coo"])
@pytest.mark.parametrize("numpy", [b"numpy.core", b"numpy._core"])
def test_published_form(save: Callable[..., Path], scipy: bytes, numpy: bytes) -> None:
    parts = {b"row": (ROWS, "i4"), b"col": (COLUMNS, "i4"), b"data": ([1, 1, 1, 2], "f8")}
    arrays = {key: array(values, kind, numpy) for key, (values, kind) in parts.items()}
    check(save(PUBLISHED % {b"scipy": scipy, **arrays}))


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("kind", [bool, np.int8, np.uint16, np.float32, np.float64])
def test_pickle_of_the_scipy_installed(
    save: Callable[..., Path], protocol: int, kind: type
) -> None:
    check(save(matrix(kind=kind), protocol))


class Call:
    """Pickled as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("numpy.testing", "measure"),
        ("numpy.testing._private.utils", "runstring"),
        ("numpy", "load"),
        ("numpy", "ndarray.tofile"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy._core.numeric", "frombuffer"),
        ("scipy.sparse.coo", "csr_matrix"),
        ("scipy.sparse._coo", "np"),
        ("scipy.sparse", "coo_matrix"),
        ("copyreg", "_reconstructor"),
    ],
)
@pytest.mark.parametrize("protocol", [b"\x80\x03c%s\n%s\n.", b"\x80\x04\x8c%c%s\x8c%c%s\x93."])
def test_every_other_name_is_refused(
    save: Callable[..., Path], module: str, name: str, protocol: bytes
) -> None:
    names = module.encode(), name.encode()
    if protocol.startswith(b"\x80\x03"):
        content = protocol % names
    else:
        content = protocol % (len(names[0]), names[0], len(names[1]), names[1])
    assert f"found '{module}.{name}' in the pickle" in refusal(save(content))


def test_a_call_is_not_made(save: Callable[..., Path], tmp_path: Path) -> None:
    marker = tmp_path / "opened"
    for call in (Call(os.system, f"touch {marker}"), Call(Path.touch, marker)):
        for content in (call, [matrix(), call], {"_shape": call}):
            path = save(content)
            assert "nothing was run" in refusal(path)
            assert not marker.exists()
    os.system(f"touch {marker}")
    assert marker.exists()  # what the first of them would have done


def test_no_name_is_a_thing_of_numpy_or_scipy() -> None:
    assert {module.split(".")[0] for module, _ in KNOWN} == {"numpy", "scipy", "_codecs"}
    for known in KNOWN.values():
        assert known.__module__ == CooUnpickler.__module__


def with_state(**changes: Any) -> sp.coo_matrix:
    """A matrix whose pickle holds other attributes than scipy would allow."""
    changed = matrix()
    vars(changed).update(changes)
    return changed


def indices(*values: Any, kind: Any = np.int32) -> np.ndarray:
    return np.array(values, dtype=kind)


def test_big_endian_indices(save: Callable[..., Path]) -> None:
    coords = indices(*ROWS, kind=">i4"), indices(*COLUMNS, kind=">i4")
    content = pickle.dumps(with_state(coords=coords), 4)
    assert b">" in content
    check(save(content))


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ({"_shape": (5,)}, "the shape (5,)"),
        ({"_shape": (5, "3")}, "the shape (5, '3')"),
        ({"_shape": (5, True)}, "the shape (5, True)"),
        ({"_shape": (0, 3)}, "the shape (0, 3)"),
        ({"_shape": (4, 3)}, "rows from 0 to 4, expected 0 to 3"),
        ({"_shape": (5, 2)}, "columns from 0 to 2, expected 0 to 1"),
        ({"coords": (indices(-1, 0, 4, 2), indices(1, 2, 1, 0))}, "rows from -1 to 4"),
        ({"coords": (indices(0), indices(1))}, "1 rows, 1 columns and 4 values"),
        ({"coords": (indices(0, 0, 0), indices(1, 1, 1, 1))}, "3 rows, 4 columns and 4 values"),
        ({"coords": (indices([0, 0], [0, 0]), indices(1, 1, 1, 1))}, "rows of shape (2, 2)"),
        ({"coords": (indices(0, 1, 2, 3, kind=float), indices(1, 1, 1, 1))}, "rows of type 'f8'"),
        ({"coords": (indices(0, 1, 2, 3, kind=object), indices(1, 1, 1, 1))}, "rows of type 'O8'"),
        ({"coords": ([0, 1, 2, 3], indices(1, 1, 1, 1))}, "no array of rows"),
        ({"coords": None}, "no row and column"),
        ({"coords": (indices(0, 0, 0, 0),)}, "no row and column"),
        ({"data": None}, "no array of values"),
        ({"data": indices(1, 2)}, "4 rows, 4 columns and 2 values"),
        ({"data": indices(1, 1, np.nan, 1, kind=float)}, "NaN, infinite, zero or negative"),
        ({"data": indices(1, 1, np.inf, 1, kind=float)}, "NaN, infinite, zero or negative"),
        ({"data": indices(1, 1, 0, 1, kind=float)}, "NaN, infinite, zero or negative"),
        ({"data": indices(1, -1, 1, 1, kind=float)}, "NaN, infinite, zero or negative"),
        ({"data": indices(1, -1, 1, 1, kind=np.int8)}, "NaN, infinite, zero or negative"),
        ({"data": indices(1, 1, 1, 1, kind=complex)}, "values of type 'c16'"),
        ({"coords": (indices(), indices()), "data": indices()}, "no entry"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_matrix_that_contradicts_itself_is_refused(
    save: Callable[..., Path], state: dict[str, Any], found: str
) -> None:
    assert f"found {found}" in refusal(save(with_state(**state)))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ([1, 2], "list"),
        (np.arange(3), "Array"),
        (np.dtype("i4"), "Type"),
        (None, "NoneType"),
    ],
    ids=str,
)
def test_another_object_is_refused(save: Callable[..., Path], content: Any, found: str) -> None:
    assert f"found {found}, expected a coo_matrix" in refusal(save(content))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"0 7\n",
        pickle.dumps(matrix(), 4)[:-30],
        b"\x80\x03cnumpy\ndtype\n(K\x05d.",
        b"\x80\x03cscipy.sparse.coo\ncoo_matrix\nK\x05b.",  # the class itself, with a state
        b"\x80\x03cnumpy.core.multiarray\n_reconstruct\ncnumpy\ndtype\n\x85R.",
        b"\x80\x03Pperson\n.",
    ],
    ids=["empty", "text", "cut", "odd call", "state of a class", "array of a dtype", "persistent"],
)
def test_what_is_no_pickle_of_a_matrix_is_refused(
    save: Callable[..., Path], content: bytes
) -> None:
    assert "not a pickle of a coo_matrix" in refusal(save(content))


def test_missing_file_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "trnMat.pkl")


def test_the_memo_cannot_ask_for_memory(save: Callable[[Any], Path]) -> None:
    # Ten bytes, for which the memo would be a list of some 2^28 places.
    for operation in (b"r" + struct.pack("<I", 2**27), b"p134217728\n"):
        assert "found the memo's number 134217728" in refusal(save(b"N" + operation + b"."))


def test_arrays_of_protocol_5_are_checked_too(save: Callable[..., Path]) -> None:
    frozen = matrix()
    for values in (frozen.row, frozen.col, frozen.data):
        values.flags.writeable = False  # as bytes, not as a bytearray
    check(save(frozen, 5))
    assert "rows of shape (2, 2)" in refusal(
        save(with_state(coords=(indices([0, 0], [0, 0]), indices(1, 1, 1, 1))), 5)
    )
    elsewhere: list[pickle.PickleBuffer] = []
    content = pickle.dumps(matrix(), 5, buffer_callback=elsewhere.append)
    assert elsewhere
    assert "not a pickle of a coo_matrix" in refusal(save(content))


def test_lengths_that_the_file_has_not_ask_for_no_memory(save: Callable[[Any], Path]) -> None:
    for operation in (b"\x96", b"\x8e", b"\x8d", b"\x95"):  # bytearray, bytes, text, frame
        content = b"\x80\x05" + operation + struct.pack("<Q", 2**40) + b"."
        assert "not a pickle of a coo_matrix" in refusal(save(content))


def test_values_within_values_do_not_end_the_process(save: Callable[[Any], Path]) -> None:
    deep = b"\x80\x02N" + b"\x85" * 200_000 + b"."
    assert "found tuple" in refusal(save(deep))
    state = b"\x80\x02cscipy.sparse.coo\ncoo_matrix\n)\x81}X\x06\x00\x00\x00_shape"
    assert "the shape" in refusal(save(state + deep[2:-1] + b"sb."))


@pytest.mark.parametrize(
    "part",
    [b"K\x05K\x03\x86", b"K\x04\x85", b"X\x02\x00\x00\x00i4"],
    ids=["shape of the matrix", "shape of an array", "type of an array"],
)
def test_a_value_without_end_is_not_printed(save: Callable[[Any], Path], part: bytes) -> None:
    numbers = array([0, 0, 0, 0], "i4", b"numpy.core")
    parts = {b"row": numbers, b"col": numbers, b"data": numbers}
    sound = PUBLISHED % {b"scipy": b"scipy.sparse.coo", **parts}
    assert sound.count(part)
    doubled = b")" + b"2\x86" * 14  # pairs of pairs: with 60 it could not be printed at all
    message = refusal(save(sound.replace(part, doubled)))
    assert len(message) < 2000


def test_a_pickle_sets_no_attribute_of_what_it_is_given(save: Callable[[Any], Path]) -> None:
    names = [f"c{module}\n{name}\n".encode() for module, name in KNOWN]
    for name in names:
        refusal(save(b"\x80\x02" + name + b"}X\x04\x00\x00\x00leftK\x01sb."))
        refusal(save(b"\x80\x02" + name + b"N}X\x04\x00\x00\x00leftK\x01s\x86b."))
    assert not any(hasattr(known, "left") for known in KNOWN.values())

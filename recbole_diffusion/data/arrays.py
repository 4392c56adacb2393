"""Headers and values of ``.npy`` arrays that nobody vouches for; nothing in them is unpickled."""

import tokenize
from pathlib import Path
from typing import IO

import numpy as np

READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# What numpy raises beside ValueError where a header is no Python literal.
MALFORMED = (SyntaxError, tokenize.TokenError, TypeError, RecursionError, MemoryError)


def read_header(stream: IO[bytes], size: int) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read the header of an array whose values make up all the rest.

    Args:
        stream: At the start of the array.
        size: Number of bytes of header and values, so that no header can ask for more memory.

    Returns:
        Shape, whether columns come first, and type.

    Raises:
        ValueError: Another format, a malformed header, or values that do not have its size.
    """
    version = np.lib.format.read_magic(stream)
    if version not in READERS:
        raise ValueError(f"found version {version} of the format, expected 1.0 or 2.0")
    try:
        shape, is_fortran, dtype = READERS[version](stream)
    except MALFORMED as error:
        raise ValueError(f"found a malformed header ({type(error).__name__})") from error
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded, expected an array of numbers or of texts")
    if any(type(n) is not int or n < 0 for n in shape):
        raise ValueError(f"found the shape {shape}, expected whole numbers")
    found, expected = size - stream.tell(), int(np.prod(shape, dtype=object)) * dtype.itemsize
    if found != expected:
        raise ValueError(f"found {found} bytes of values, expected {expected} for shape {shape}")
    return shape, is_fortran, dtype


def read_array(stream: IO[bytes], size: int) -> np.ndarray:
    """Read an array, as ``read_header`` does its header.

    Raises:
        ValueError: As there, or fewer values than the size promises.
    """
    shape, is_fortran, dtype = read_header(stream, size)
    content = stream.read(size - stream.tell())
    if len(content) != int(np.prod(shape, dtype=object)) * dtype.itemsize:
        raise ValueError(f"found {len(content)} bytes of values, too few for shape {shape}")
    return np.ndarray(shape, dtype, content, order="F" if is_fortran else "C")


def open_array(path: Path) -> np.ndarray:
    """Map the array of a file into memory, read-only.

    Raises:
        OSError: The file cannot be read.
        ValueError: As ``read_header``.
    """
    with path.open("rb") as stream:
        read_header(stream, path.stat().st_size)
    return np.lib.format.open_memmap(path, mode="r")

"""Vectors of items or users by original id, read by blocks."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

BLOCK_VALUES = 2**19  # some 2 MB, so that a matrix is never in memory twice

# Rows and columns of the whole matrix, and the values there.
Block = tuple[slice, slice, np.ndarray]


@dataclass(frozen=True)
class FeatureTable:
    """Vectors by original id, whose values are still to be read.

    Attributes:
        source: The file, for messages.
        ids: Original ids as texts [n], as the file orders them.
        width: Length of a vector.
        dtype: Type of the values in the file.
        blocks: Parts of the matrix [n, width] that cover it once; can be read once.
        remark: What else a message about absent ids has to say.
    """

    source: str
    ids: np.ndarray
    width: int
    dtype: str
    blocks: Iterator[Block]
    remark: str = ""


def block_length(inner: int) -> int:
    """Rows (or columns) of one block, each of ``inner`` values."""
    return max(1, BLOCK_VALUES // max(1, inner))

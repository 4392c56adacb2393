"""Numbers as atomic files and tables hold them."""

import math
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

# From 10 on, as far as int64 goes.
POWERS_OF_TEN = 10 ** np.arange(1, 19)
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def is_number(text: str) -> bool:
    """Whether a text is a finite decimal number; float() would take `1_0` and other digits too."""
    return bool(NUMBER.fullmatch(text.strip())) and math.isfinite(float(text))


def plain_whole_numbers(texts: pd.Series) -> np.ndarray | None:
    """The numbers of texts that are digits without a zero before them, int64 [n].

    Args:
        texts: Any.

    Returns:
        None if one is missing or another text, so that equal numbers are equal texts.
    """
    column = pa.array(texts, pa.string())
    if column.null_count:
        return None
    try:
        numbers = pc.cast(column, pa.int64()).to_numpy()
    except pa.ArrowInvalid:
        return None
    n_digits = np.searchsorted(POWERS_OF_TEN, numbers, side="right") + 1
    is_plain = (numbers >= 0) & (pc.binary_length(column).to_numpy() == n_digits)
    return numbers if is_plain.all() else None


def numbered(texts: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Number texts in the order of their appearance.

    Args:
        texts: Any; a missing one has the number -1.

    Returns:
        A number for each text, from 0, int64 [n], and the distinct texts.
    """
    numbers = plain_whole_numbers(texts)
    if numbers is None:
        ids, tokens = pd.factorize(texts)
        return ids, tokens.to_numpy(object)
    ids, distinct = pd.factorize(numbers)  # which is faster than texts
    return ids, distinct.astype(str).astype(object)

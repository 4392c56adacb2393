"""Columns of ids, numbers, times and texts: what they must be, and the row that is not."""

import shlex
from collections import Counter
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recbole_diffusion.base.errors import UserError, refusals_of
from recbole_diffusion.convert.dates import (
    ZONE,
    compact_dates,
    forms_of,
    parsed_by,
    seconds_of,
)
from recbole_diffusion.convert.reading import shown
from recbole_diffusion.data.numbers import NUMBER

# Seconds, milliseconds, microseconds and nanoseconds by the median of times after 1973.
UNITS = ((1e11, 1, "seconds"), (1e14, 1e3, "milliseconds"), (1e17, 1e6, "microseconds"))
NANOSECONDS = (1e9, "nanoseconds")
NUMBER_PATTERN = f"^{NUMBER.pattern}$"  # PyArrow's digits are those of ASCII
COUNTING_PATTERN = r"^(0|[1-9][0-9]{0,17})$"
COUNTING = "a non-negative integer of at most 18 digits, no leading zeros"
# Decimals behind a comma, and those that thousands could not be.
COMMA_PATTERN = r"^[+-]?(\d+|\d*,\d+)([eE][+-]?\d+)?$"
SURE_COMMA_PATTERN = r"^[+-]?0*,|,(\d{1,2}|\d{4,})([eE][+-]?\d+)?$"
NOT_BLANK = "one that is not blank (--drop-missing leaves such rows of interactions out)"
TIMES_EXPECTED = (
    "seconds as a number, or a date such as 2024-05-01T12:30:00, 31.12.2024 or Dec 31, 2024 "
    "(of another form: --date-format)"
)
BREAKS = "texts whose tabs or line breaks became spaces"


class Source(Protocol):
    """A source of rows that can name one of them."""

    def error(self, row: int, found: str, expected: str) -> UserError:
        """The error for a row, counted from 0."""


def ids_of(source: Source, column: pa.ChunkedArray, counting: bool = False) -> pa.DictionaryArray:
    """Ids as they stand, as numbers of their distinct texts in the order of the rows.

    Args:
        source: Where they come from.
        column: Texts, whole numbers, or a dictionary of texts.
        counting: Whether they must be whole numbers from 0 on.

    Raises:
        UserError: An id is missing, blank, holds a tab or line break, or is no whole number.
    """
    if pa.types.is_floating(column.type) or pa.types.is_nested(column.type):
        raise source.error(0, f"ids of type {column.type}", "texts or whole numbers")
    if column.null_count:
        raise _bad(source, column, pc.is_null(column), "the id", NOT_BLANK)
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.string()).dictionary_encode()
    column = column.unify_dictionaries()
    if not len(column):
        return pa.DictionaryArray.from_arrays(pa.array([], pa.int32()), pa.array([], pa.string()))
    whole = column.combine_chunks() if column.num_chunks > 1 else column.chunk(0)
    texts = whole.dictionary
    blank = pc.equal(pc.utf8_trim_whitespace(texts), "")
    broken = pc.match_substring_regex(texts, "[\t\r\n]")
    checks = [
        (blank, "the id ", NOT_BLANK),
        (broken, "the id ", "one without tabs and line breaks"),
    ]
    if counting:
        checks = [(pc.invert(pc.match_substring_regex(texts, COUNTING_PATTERN)), "", COUNTING)]
    for is_bad, what, expected in checks:
        if pc.any(is_bad).as_py():
            codes = np.flatnonzero(is_bad.to_numpy(zero_copy_only=False))
            row = int(np.isin(whole.indices.to_numpy(), codes).argmax())
            raise source.error(row, f"{what}{shown(whole[row].as_py())}", expected)
    return whole


def numbers_of(
    source: Source, name: str, column: pa.ChunkedArray, decimal: str = "."
) -> np.ndarray:
    """Finite numbers, float64.

    Raises:
        UserError: Another text, or nothing, with its row.
    """
    if pa.types.is_boolean(column.type) or pa.types.is_nested(column.type):
        raise source.error(0, f"{name} {shown(str(column[0]))}", "a finite number")
    texts = None
    if not pa.types.is_integer(column.type) and not pa.types.is_floating(column.type):
        texts = _trimmed(column, decimal)
        is_number = pc.fill_null(pc.match_substring_regex(texts, NUMBER_PATTERN), False)
        if not pc.all(is_number).as_py():
            raise _bad(source, column, pc.invert(is_number), name, "a finite number")
        column = _as_floats(texts)
    numbers = column.cast(pa.float64()).to_numpy().astype(np.float64)
    is_bad = ~np.isfinite(numbers)
    if is_bad.any():
        row = int(is_bad.argmax())
        found = str((column if texts is None else texts)[row].as_py())
        raise source.error(row, f"{name} {shown(found)}", "a finite number")
    return numbers


def decimal_of(column: pa.ChunkedArray) -> str:
    """What separates decimals: a comma where it does in all numbers and no thousands are meant."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return "."
    texts = _trimmed(column, ".")
    are_of_commas = pc.all(pc.match_substring_regex(texts, COMMA_PATTERN)).as_py()
    is_sure = pc.any(pc.match_substring_regex(texts, SURE_COMMA_PATTERN)).as_py()
    return "," if are_of_commas and is_sure else "."


def filled_numbers(column: pa.ChunkedArray) -> np.ndarray | None:
    """Numbers of the texts that are not empty, with decimal point or comma; None for words."""
    texts = pc.utf8_trim_whitespace(column)
    filled = texts.filter(pc.not_equal(texts, ""))
    try:
        numbers: np.ndarray = pc.replace_substring(filled, ",", ".").cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        return None
    return numbers


def times_of(
    source: Source,
    name: str,
    column: pa.ChunkedArray,
    decimal: str = ".",
    form: str | None = None,
) -> tuple[np.ndarray, str | None]:
    """Seconds since 1970 from numbers of any unit or from dates, which are in UTC by default.

    Args:
        source: For messages.
        name: Of the column.
        column: Its values.
        decimal: What separates decimals.
        form: Of the dates, as ``strptime`` takes it; None: found out.

    Returns:
        Seconds, float64, and what the values were if neither seconds nor ISO 8601 dates.

    Raises:
        UserError: Another text, or nothing, with its row; or dates of which several forms fit.
    """
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        nanoseconds = column.cast(pa.timestamp("us")).cast(pa.int64())
        return numbers_of(source, name, nanoseconds) / 1e6, None
    if form is not None:
        return _times_of_form(source, name, column, form), f"dates {form}"
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return _numbers_in_seconds(numbers_of(source, name, column))
    texts = _trimmed(column, decimal)
    is_number = pc.fill_null(pc.match_substring_regex(texts, NUMBER_PATTERN), False)
    mask = is_number.to_numpy()
    if mask.all():
        return _numbers_in_seconds(numbers_of(source, name, column, decimal))
    dates = _trimmed(column, ".").filter(pc.invert(is_number)).to_pandas().astype(object)
    parsed = _iso_times(dates)
    if parsed.isna().any() and not mask.any() and not dates.isna().any():
        forms = forms_of(dates)
        if len(forms) == 1:
            ((found, seconds),) = forms.items()
            return seconds, f"dates {found}"
        if forms:
            raise source.error(
                0,
                f"{name} {shown(str(dates.iloc[0]))}, which are dates of {' or '.join(forms)}",
                f"one of them: --date-format={shlex.quote(next(iter(forms)))}",
            )
    if parsed.isna().any():
        row = int(np.flatnonzero(~mask)[parsed.isna().to_numpy().argmax()])
        raise source.error(row, f"{name} {shown(str(column[row].as_py() or ''))}", TIMES_EXPECTED)
    seconds = np.zeros(len(mask))
    seconds[~mask] = seconds_of(parsed)
    seconds[mask], unit = in_seconds(_as_floats(texts.filter(is_number)).to_numpy())
    if not np.isfinite(seconds).all():
        row = int((~np.isfinite(seconds)).argmax())
        raise source.error(row, f"{name} {shown(texts[row].as_py())}", "a finite number")
    return seconds, unit


def _iso_times(dates: pd.Series) -> pd.Series:
    plain = dates.str.replace(ZONE, "", regex=True)
    plain = plain.where(plain.str.match("[0-9]{4}"))  # pandas knows the date `now`, too
    return pd.Series(pd.to_datetime(plain, format="ISO8601", utc=True, errors="coerce"))


def _times_of_form(source: Source, name: str, column: pa.ChunkedArray, form: str) -> np.ndarray:
    texts = _trimmed(column, ".").to_pandas().astype(object)
    with refusals_of("option --date-format", ValueError):
        parsed = parsed_by(form, texts)
    if parsed.isna().any():
        row = int(parsed.isna().to_numpy().argmax())
        found = f"{name} {shown(str(column[row].as_py() or ''))}"
        raise source.error(row, found, f"a date of the form {form} (option --date-format)")
    return seconds_of(parsed)


def _numbers_in_seconds(numbers: np.ndarray) -> tuple[np.ndarray, str | None]:
    """Dates without separators are no seconds: 20180722 would be in August 1970."""
    found = compact_dates(numbers)
    if found is None:
        return in_seconds(numbers)
    form, seconds = found
    return seconds, f"dates {form}"


def in_seconds(times: np.ndarray) -> tuple[np.ndarray, str | None]:
    """Times in seconds, and their unit where it was another, told by the median's magnitude."""
    middle = float(np.median(np.abs(times))) if len(times) else 0.0
    for end, divisor, unit in UNITS:
        if middle < end:
            return (times, None) if divisor == 1 else (times / divisor, unit)
    return times / NANOSECONDS[0], NANOSECONDS[1]


def texts_of(column: pa.ChunkedArray, counts: Counter[str]) -> pa.ChunkedArray:
    """Texts on one line, counting those that this changes; nothing where one is missing."""
    texts = pc.fill_null(column.cast(pa.large_string()), "")
    lines = pc.replace_substring_regex(texts, "\r\n|[\t\r\n]", " ")
    counts[BREAKS] += pc.sum(pc.not_equal(texts, lines)).as_py() or 0
    return lines


def _trimmed(column: pa.ChunkedArray, decimal: str) -> Any:
    texts = pc.utf8_trim_whitespace(column.cast(pa.large_string()))
    return pc.replace_substring(texts, decimal, ".") if decimal != "." else texts


def _as_floats(texts: Any) -> Any:
    return pc.replace_substring_regex(texts, r"^\+", "").cast(pa.float64())


def _bad(source: Source, column: Any, is_bad: Any, name: str, expected: str) -> UserError:
    row = pc.index(is_bad, True).as_py()
    text = column[row].as_py()
    return source.error(row, f"{name} {shown('' if text is None else str(text))}", expected)

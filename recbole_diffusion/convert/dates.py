"""Dates as spreadsheets, shops and databases write them: which form the texts of a column have."""

import itertools
import re
from datetime import UTC, datetime
from functools import cache

import numpy as np
import pandas as pd

DAYS = (
    *("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y.%m.%d"),
    *("%d.%m.%y", "%d/%m/%y", "%m/%d/%y"),
    *("%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%d %B %Y"),
    *("%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y"),
)
BETWEEN = (" ", ", ")
CLOCKS = ("%H:%M", "%H:%M:%S", "%I:%M %p", "%I:%M:%S %p", "%H:%M:%S.%f")
WHOLE = ("%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S %z %Y", "%a, %d %b %Y %H:%M:%S")
FORMS = (
    *DAYS,
    *map("".join, itertools.product(DAYS, BETWEEN, CLOCKS)),
    *WHOLE,
)
ZONE = re.compile(r" ?(UTC|GMT|Z)$")
COMPACT = {8: "%Y%m%d", 14: "%Y%m%d%H%M%S"}
FIRST_YEAR, LAST_YEAR = 1980, 2100  # of dates without separators; else they are numbers
SAMPLE = 50  # texts that tell which forms to try on all


def forms_of(texts: pd.Series) -> dict[str, np.ndarray]:
    """The forms that all texts have, and the seconds since 1970 that each makes of them [n].

    Forms that give the same seconds count once. Times without a zone are in UTC.

    Args:
        texts: Without blanks around them.
    """
    found: dict[str, np.ndarray] = {}
    shape = _shape(str(texts.iloc[0])) if len(texts) else ""
    for form in _forms_by_shape().get(shape, ()):
        if seconds_by(form, texts.iloc[:SAMPLE]) is None:
            continue
        seconds = seconds_by(form, texts)
        if seconds is not None and not any(np.array_equal(seconds, s) for s in found.values()):
            found[form] = seconds
    return found


def _shape(text: str) -> str:
    """A text with each word as a letter, and each number as a digit."""
    return re.sub(r"\d+", "0", re.sub(r"[A-Za-z]+", "a", ZONE.sub("", text)))


@cache
def _forms_by_shape() -> dict[str, list[str]]:
    """Forms by the shape of what they write, since trying all takes long."""
    found: dict[str, list[str]] = {}
    for form in FORMS:
        found.setdefault(_shape(datetime(2020, 10, 20, tzinfo=UTC).strftime(form)), []).append(form)
    return found


def seconds_by(form: str, texts: pd.Series) -> np.ndarray | None:
    """Seconds since 1970 [n] of texts of one form; None where one has another."""
    parsed = parsed_by(form, texts)
    return None if parsed.isna().any() else seconds_of(parsed)


def parsed_by(form: str, texts: pd.Series) -> pd.Series:
    """Times in UTC [n], missing where a text has another form.

    Args:
        form: As ``strptime`` takes it.
        texts: Dates; UTC behind them is allowed.

    Raises:
        ValueError: What is no form at all.
    """
    plain = texts.astype("string").str.replace(ZONE, "", regex=True).astype(object)
    return pd.Series(pd.to_datetime(plain, format=form, utc=True, errors="coerce"))


def seconds_of(times: pd.Series) -> np.ndarray:
    """Seconds since 1970 of times in UTC, float64 [n]."""
    microseconds: np.ndarray = times.to_numpy("datetime64[us]").astype(np.int64)
    return microseconds / 1e6


def compact_dates(numbers: np.ndarray) -> tuple[str, np.ndarray] | None:
    """Whole numbers that are dates without separators, such as 20180722; None for others.

    Args:
        numbers: float64 [n].

    Returns:
        Their form, and seconds since 1970 [n].
    """
    is_whole = np.isfinite(numbers) & (numbers == np.floor(numbers))
    if not len(numbers) or not is_whole.all():
        return None
    for n_digits, form in COMPACT.items():
        years = numbers // 10.0 ** (n_digits - 4)
        if ((years >= FIRST_YEAR) & (years < LAST_YEAR)).all():
            seconds = seconds_by(form, pd.Series(numbers.astype(np.int64)).astype(str))
            return None if seconds is None else (form, seconds)
    return None

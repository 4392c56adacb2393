"""Which columns of a user's tables are what."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.convert.columns import (
    KNOWN,
    USUAL,
    guessed,
    only_times,
    plain_name,
)
from recbole_diffusion.convert.reading import shown
from recbole_diffusion.convert.tables import TableOptions
from recbole_diffusion.convert.values import decimal_of

OPTIONAL = ("rating", "timestamp", "event")
AMAZON_USER, AMAZON_ITEM = re.compile(r"A[0-9A-Z]{11,20}"), re.compile(r"[0-9A-Z]{10}")
FIRST_TIME = 1e8  # numbers from here on are times, if all of a column are: 1973 in seconds
MAX_RATING = 100


@dataclass(frozen=True)
class CsvOptions:
    """Which columns of a user's tables are what; None asks to guess.

    Attributes:
        user: Column of the users.
        item: Column of the items.
        rating: Column of the ratings.
        timestamp: Column of the times: numbers or dates.
        date_format: Form of the dates, as ``strptime`` takes it.
        event: Column of what a row tells of, such as views.
        events: Values of it to keep; all by default.
        drop_missing: Whether rows without a user, item, rating or time are left out, not refused.
        items: Table of items.
        item_key: Its column of the items.
        item_columns: Its columns to keep; all others by default.
        float_columns: Those of them that are numbers; the rest are texts.
        items_duplicates: ``error`` refuses an id that stands twice, ``first`` keeps the first.
        table: How the tables are stored; header and columns are those of the interactions.
    """

    user: str | None = None
    item: str | None = None
    rating: str | None = None
    timestamp: str | None = None
    date_format: str | None = None
    event: str | None = None
    events: tuple[str, ...] | None = None
    drop_missing: bool = False
    items: Path | None = None
    item_key: str | None = None
    item_columns: tuple[str, ...] | None = None
    float_columns: tuple[str, ...] = ()
    items_duplicates: str = "error"
    table: TableOptions = TableOptions()


def find_columns(table: Any, options: CsvOptions) -> dict[str, str]:
    """The table's column of users, items and, where there are such, ratings, times and events.

    Args:
        table: As ``open_table`` gives it.
        options: Columns that are given.

    Raises:
        UserError: A column is missing, or several fit.
    """
    if not table.has_header and options.table.columns is None:
        named = [what for what in KNOWN if getattr(options, what) is not None]
        if named or options.events is not None:
            raise UserError(
                f"{table.path}: found option --{(*named, 'events')[0]} for a file without a "
                "header, expected its columns by name, in their order: --columns=user,item,..."
            )
        return _by_values(table)
    unknown = [w for w in ("user", "item") if not getattr(options, w) and not guessed(table, w)]
    if len(unknown) == 2:
        raise UserError(
            f"{table.path}, line 1: found the columns {table.columns}, expected one of users and "
            "one of items; name them: --user=COLUMN --item=COLUMN (--columns=... where the first "
            "line is a row)."
        )
    columns = {}
    for what in KNOWN:
        given = getattr(options, what)
        needs = what not in OPTIONAL or (what == "event" and options.events is not None)
        if given is not None or needs or guessed(table, what):
            columns[what] = find_column(table, f"--{what}", given, what)
    if "timestamp" not in columns:
        times = only_times(table, columns)
        columns |= {} if times is None else {"timestamp": times}
    if len(set(columns.values())) < len(columns):
        raise UserError(f"{table.path}, line 1: found one column named for two of {columns}.")
    return columns


def find_column(table: Any, option: str, given: str | None, what: str) -> str:
    """The column that an option names, or else the only one whose name tells what it is.

    Args:
        table: As ``open_table`` gives it.
        option: For messages.
        given: What stands there.
        what: user, item, rating, timestamp or event.

    Raises:
        UserError: None is there, or several fit.
    """
    if given is not None:
        matches = [given] if given in table.columns else []
        expected = f"{shown(given)} (option {option}) among them"
    else:
        matches = guessed(table, what)
        if {"asin", "parent_asin"} == set(matches):  # variants of a product share the second
            matches = ["parent_asin"]
        # Of user_id and user_name.
        matches = [c for c in matches if not plain_name(c).endswith("name")] or matches
        such = ", ".join(USUAL[what][:6])
        expected = f"exactly one such as {such}, or another one named by {option}"
    if len(matches) != 1:
        advice = " (--columns=... where the first line is a row)" if given is None else ""
        if len(matches) > 1:
            options = " or ".join(f"{option}={shlex.quote(column)}" for column in matches)
            advice = f"; {' and '.join(matches)} compete: {options}"
        raise UserError(
            f"{table.path}, line 1: found the columns {table.columns}, expected {expected}{advice}."
        )
    return str(matches[0])


def _by_values(table: Any) -> dict[str, str]:
    """Columns without names: user, item, then rating, time or both, as their numbers look."""
    names = table.columns
    advice = (
        "expected a header, or user, item and then a rating, a time or both; name the columns, "
        "such as --no-header --columns=user,item,rating,timestamp"
    )
    refusal = UserError(f"{table.path}, line 1: found {shown(str(table.sample[0]))}, {advice}.")
    if not 2 <= len(names) <= 4:
        raise refusal
    order = ["user", "item"]
    first, second = ([row[n] for row in table.sample] for n in (0, 1))
    if all(map(AMAZON_USER.fullmatch, second)) and all(map(AMAZON_ITEM.fullmatch, first)):
        order = ["item", "user"]
    for n in range(2, len(names)):
        try:
            numbers = [float(row[n]) for row in table.sample]
        except ValueError:
            raise refusal from None
        order.append("timestamp" if min(numbers) >= FIRST_TIME else "rating")
    are_ratings = all(
        abs(float(row[n])) <= MAX_RATING
        for row in table.sample
        for n, what in enumerate(order)
        if what == "rating"
    )
    if len(set(order)) < len(order) or not are_ratings:
        raise refusal
    found = dict(zip(order, names, strict=True))
    return {what: found[what] for what in KNOWN if what in found}


def decimal_and_note(
    column: str, found: pa.ChunkedArray, options: CsvOptions
) -> tuple[str, list[str]]:
    """What separates a column's decimals, and a note where it was found out and is a comma."""
    if options.table.decimal is not None:
        return options.table.decimal, []
    decimal = decimal_of(found)
    return decimal, [f"{column}: decimals behind a comma"] if decimal == "," else []

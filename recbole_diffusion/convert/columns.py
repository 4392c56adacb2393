"""Names of columns: those that tell what a column is, and columns that nothing takes."""

import re
import shlex
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.convert.reading import MAX_SHOWN, shown
from recbole_diffusion.convert.values import times_of

# Names of columns in small letters, without other characters and RecBole's types; those behind
# the bar count where there is none before it.
GUESSES = {
    "user": "userid user uid reviewerid customerid visitorid memberid profileid username | "
    "customer buyer buyerid client clientid shopper shopperid member account accountid visitor "
    "reviewer listener listenerid viewer viewerid reader readerid player playerid",
    "item": "itemid item iid movieid movie productid product asin parentasin artistid isbn bookid "
    "businessid gameid appid songid trackid videoid articleid newsid recipeid sku | "
    "filmid animeid courseid goodsid film song track video article book game recipe course goods",
    "rating": "rating overall stars score bookrating weight playcount",
    "timestamp": "timestamp time unixreviewtime date datetime createdat eventtime ts | "
    "when orderedat purchasedat boughtat viewedat clickedat playedat watchedat ratedat",
    "event": "event eventtype behavior behaviour behaviortype action",
}
USUAL = {what: tuple(names.partition("|")[0].split()) for what, names in GUESSES.items()}
KNOWN = {what: tuple(names.replace("|", "").split()) for what, names in GUESSES.items()}
MAX_COLUMNS = 20  # that a message names
PLAUSIBLE_TIMES = 631_152_000, 2**31  # seconds since 1970: from 1990 to 2038


def plain_name(column: str) -> str:
    """A column's name in small letters and digits, without a type of RecBole's."""
    return re.sub(r"[\W_]+", "", re.sub(r":(token|float)(_seq)?$", "", column).lower())


def listed(columns: Sequence[str]) -> str:
    """Names of columns for a message; of very many, the first."""
    more = len(columns) - MAX_COLUMNS
    told = ", ".join(map(_told, columns[:MAX_COLUMNS]))
    return f"{told} and {more} more" if more > 0 else told


def _told(column: str) -> str:
    return column if column.isprintable() and len(column) <= MAX_SHOWN else shown(column)


def guessed(table: Any, what: str) -> list[str]:
    """Columns that are something by their names: the usual ones, or else others that can be it.

    Args:
        table: As ``open_table`` gives it.
        what: user, item, rating, timestamp or event.
    """
    fitting = [column for column in table.columns if plain_name(column) in KNOWN[what]]
    usual = [column for column in fitting if plain_name(column) in USUAL[what]]
    if usual or what != "timestamp":
        return usual or fitting
    return [column for column in fitting if _times(table, column) is not None]


def told_left_out(table: Any, taken: Collection[str], has_times: bool) -> list[str]:
    """Columns of a table of interactions that nothing takes, as a note of the report, or none.

    Args:
        table: As ``open_table`` gives it.
        taken: Columns that are used.
        has_times: Whether one of them holds the times; else those that look like times are told.
    """
    names = [column for column in table.columns if plain_name(column) and column not in taken]
    times = [] if has_times else columns_of_times(table, names)
    hints = [f"{_told(c)} (looks like times: --timestamp={shlex.quote(c)})" for c in times]
    others = [column for column in names if column not in times]
    told = ", ".join([*hints, *([listed(others)] if others else [])])
    return [f"{table.path.name}: columns left out: {told}"] if told else []


def columns_of_times(table: Any, columns: Sequence[str]) -> list[str]:
    """Those of the columns that can be typed and whose first values are times of 1990 to 2038.

    Args:
        table: As ``open_table`` gives it.
        columns: Some of its columns.
    """
    return [column for column in columns if column.isprintable() and _are_times(table, column)]


def _are_times(table: Any, column: str) -> bool:
    seconds, (first, last) = _times(table, column), PLAUSIBLE_TIMES
    if seconds is None or len(seconds) == 0:
        return False
    return bool(((seconds >= first) & (seconds < last)).all())


def _times(table: Any, column: str) -> np.ndarray | None:
    """Seconds of the first rows; None where they are no times."""
    try:
        head = table.head(column)
        return times_of(table, column, head)[0] if len(head) else None
    except (UserError, pa.ArrowException, UnicodeError):
        return None

"""Names of columns: those that tell what a column is, and columns that nothing takes."""

import re
import shlex
from collections.abc import Collection, Sequence
from typing import Any

import pyarrow as pa

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.convert.reading import MAX_SHOWN, shown
from recbole_diffusion.convert.values import times_of

# Names of columns in small letters, without other characters and RecBole's types.
GUESSES = {
    "user": "userid user uid reviewerid customerid visitorid memberid profileid username customer "
    "buyer buyerid client clientid shopper shopperid member account accountid visitor reviewer "
    "listener listenerid viewer viewerid reader readerid player playerid",
    "item": "itemid item iid movieid movie productid product asin parentasin artistid isbn bookid "
    "businessid gameid appid songid trackid videoid articleid newsid recipeid sku filmid animeid "
    "courseid goodsid",
    "rating": "rating overall stars score bookrating weight playcount",
    "timestamp": "timestamp time unixreviewtime date datetime createdat eventtime ts when "
    "orderedat purchasedat boughtat viewedat clickedat playedat watchedat ratedat",
    "event": "event eventtype behavior behaviour behaviortype action",
}
KNOWN = {what: tuple(names.split()) for what, names in GUESSES.items()}
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
    try:
        seconds, _ = times_of(table, column, table.head(column))
    except (UserError, pa.ArrowException, UnicodeError):
        return False
    first, last = PLAUSIBLE_TIMES
    return len(seconds) > 0 and bool(((seconds >= first) & (seconds < last)).all())

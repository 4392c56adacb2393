"""Names of columns: those that tell what a column is, and columns that nothing takes."""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.convert.reading import MAX_SHOWN, shown
from recbole_diffusion.convert.values import filled_numbers, times_of

# Names of columns in small letters, without other characters and RecBole's types; those behind
# the bar count where there is none before it.
GUESSES = {
    "user": "userid user uid reviewerid customerid visitorid memberid profileid username | "
    "customer buyer buyerid client clientid shopper shopperid member account accountid visitor "
    "reviewer listener listenerid viewer viewerid reader readerid player playerid custid "
    "customeruniqueid householdid household subscriberid subscriber personid person patronid "
    "patron guestid guest msno login email",
    "item": "itemid item iid movieid movie productid product asin parentasin artistid isbn bookid "
    "businessid gameid appid songid trackid videoid articleid newsid recipeid sku | "
    "filmid animeid courseid goodsid film song track video article book game recipe course goods "
    "stockid beerid hotelid restaurantid venueid poiid placeid locationid listingid photoid "
    "podcastid jobid postid ean upc barcode",
    "rating": "rating overall stars score bookrating weight playcount | "
    "anyrating reviewscore userscore",
    "timestamp": "timestamp time unixreviewtime date datetime createdat eventtime ts | "
    "when orderedat purchasedat boughtat viewedat clickedat playedat watchedat ratedat",
    "event": "event eventtype behavior behaviour behaviortype action | "
    "eventname actiontype interactiontype activitytype activity",
}
USUAL = {what: tuple(names.partition("|")[0].split()) for what, names in GUESSES.items()}
KNOWN = {what: tuple(names.replace("|", "").split()) for what, names in GUESSES.items()}
MAX_COLUMNS = 20  # that a message names
PLAUSIBLE_TIMES = 631_152_000, 2**31  # seconds since 1970: from 1990 to 2038
# Of names of ids, as in CustomerNo, product_code.
ENDINGS = re.compile(r"(?<=.)(no|nr|num|number|code|key)$")
AVERAGES = ("average", "avg", "mean")
MAX_RATINGS, MAX_RATING = 11, 100  # how many values ratings have, and the highest
LEAST_REPEATED = 3  # rows of equal ids that tell an attribute of a user or item from a time


def plain_name(column: str) -> str:
    """A column's name in small letters and digits, without a type of RecBole's."""
    return re.sub(r"[\W_]+", "", re.sub(r":(token|float)(_seq)?$", "", column).lower())


def role_name(column: str) -> str:
    """As ``plain_name``, with other names of ids and ratings as those that are known.

    "product_code" is productid, "my_rating" a rating; "average_rating" is of an item.
    """
    name = plain_name(column)
    if name.endswith("rating") and not name.startswith(AVERAGES):
        return name if name in KNOWN["rating"] else "anyrating"
    as_id = ENDINGS.sub("id", name)
    return as_id if any(as_id in names for names in KNOWN.values()) else name


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
    fitting = [column for column in table.columns if role_name(column) in KNOWN[what]]
    usual = [column for column in fitting if plain_name(column) in USUAL[what]]
    if usual or what != "timestamp":
        return usual or fitting
    return [column for column in fitting if _times(table, column) is not None]


def told_left_out(table: Any, taken: Mapping[str, str], has_items: bool) -> list[str]:
    """Columns of a table of interactions that nothing takes, as a note of the report, or none.

    Args:
        table: As ``open_table`` gives it.
        taken: Columns that are used, by what they are; others that look like times or ratings are
            told where there are none.
        has_items: Whether there is a table of items.
    """
    names = [column for column in table.columns if plain_name(column)]
    names = [column for column in names if column not in taken.values()]
    times = [] if "timestamp" in taken else columns_of_times(table, names)
    asked = [] if "rating" in taken else [column for column in names if column not in times]
    ratings = [column for column in asked if _are_ratings(table, column)]
    hints = [
        *(f"{_told(c)} (looks like times: --timestamp={shlex.quote(c)})" for c in times),
        *(f"{_told(c)} (looks like ratings: --rating={shlex.quote(c)})" for c in ratings),
    ]
    others = [column for column in names if column not in (*times, *ratings)]
    told = ", ".join([*hints, *([listed(others)] if others else [])])
    advice = "; --items=FILE, also of the same file, keeps what tells of items"
    advice = advice if others and not has_items else ""
    return [f"{table.path.name}: columns left out: {told}{advice}"] if told else []


def only_times(table: Any, taken: Mapping[str, str]) -> str | None:
    """The one further column that looks like times of interactions; none where several do.

    One that has the same value for each user, or each item, tells of that: a birthday, a release.

    Args:
        table: As ``open_table`` gives it.
        taken: Columns that are used, by what they are: user and item among them.
    """
    names = [column for column in table.columns if column not in taken.values()]
    found = [
        column
        for column in columns_of_times(table, names)
        if not any(_tells_of(table, column, taken[what]) for what in ("user", "item"))
    ]
    return found[0] if len(found) == 1 else None


def _tells_of(table: Any, column: str, ids: str) -> bool:
    """Whether equal ids have equal values, in first rows that have equal ids."""
    keys, values = (table.head(name).to_pylist() for name in (ids, column))
    n_distinct, n_pairs = len(set(keys)), len(set(zip(keys, values, strict=True)))
    return n_pairs == n_distinct and len(keys) - n_distinct >= LEAST_REPEATED


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


def _are_ratings(table: Any, column: str) -> bool:
    """Whether the first values are some few small numbers."""
    try:
        numbers = filled_numbers(table.head(column).cast(pa.string()))
    except (pa.ArrowException, UnicodeError):
        return False
    found = set() if numbers is None else set(numbers.tolist())
    return 1 < len(found) <= MAX_RATINGS and 0 <= min(found) and max(found) <= MAX_RATING


def _times(table: Any, column: str) -> np.ndarray | None:
    """Seconds of the first rows; None where they are no times."""
    try:
        head = table.head(column)
        return times_of(table, column, head)[0] if len(head) else None
    except (UserError, pa.ArrowException, UnicodeError):
        return None

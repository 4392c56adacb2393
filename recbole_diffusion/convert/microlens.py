"""MicroLens-50k: items of each user in the order of time, and titles."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from recbole_diffusion.convert.common import TIMED_HEADER
from recbole_diffusion.convert.csv_table import read_csv
from recbole_diffusion.convert.reading import line_error, parse_id, read_lines, shown
from recbole_diffusion.convert.unsplit import Interactions, Table, count_breaks, distinct_ids

PAIRS, TITLES = "MicroLens-50k_pairs.tsv", "MicroLens-50k_titles.csv"


def read_microlens(source: Path) -> Interactions:
    """MicroLens-50k: a line of items for each user, in order of time, and a title for each item.

    Args:
        source: Folder with ``MicroLens-50k_pairs.tsv`` and ``MicroLens-50k_titles.csv``.

    Returns:
        The interactions; ``timestamp`` is the place among the user's own, from 0.
    """
    pairs, titles = source / PAIRS, source / TITLES
    counts: Counter[str] = Counter()
    items = Table(titles, "item_id:token\ttitle:token_seq", _microlens_titles(titles, counts))
    return Interactions(pairs, TIMED_HEADER, _microlens_rows(pairs), items, counts=counts)


def _microlens_rows(path: Path) -> Iterator[list[str]]:
    seen = set()
    for number, line in read_lines(path):
        user, tab, items = line.partition("\t")
        if not tab or not items.strip():
            raise line_error(path, number, shown(line), "`user<TAB>items`, separated by spaces")
        user = str(parse_id(path, number, user))
        if user in seen:
            raise line_error(path, number, f"user {user} again", "one line per user")
        seen.add(user)
        for place, item in enumerate(items.split()):
            yield [user, str(parse_id(path, number, item)), str(place)]


def _microlens_titles(path: Path, counts: Counter[str]) -> Iterator[list[str]]:
    table = read_csv(path)
    if table.columns != ["item", "title"]:
        raise line_error(path, 1, f"the columns {table.columns}", "item, title")
    return distinct_ids(
        path,
        (
            (number, [str(parse_id(path, number, row["item"])), count_breaks(counts, row["title"])])
            for number, row in table.rows
        ),
    )

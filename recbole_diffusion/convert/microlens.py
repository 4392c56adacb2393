"""MicroLens-50k: items of each user in the order of time, and titles."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from recbole_diffusion.convert.interactions import Interactions, Table, distinct_rows
from recbole_diffusion.convert.lists import read_lists
from recbole_diffusion.convert.reading import line_error
from recbole_diffusion.convert.tables import ID, TEXT, TableOptions, TextTable
from recbole_diffusion.convert.values import ids_of, texts_of

PAIRS, TITLES = "MicroLens-50k_pairs.tsv", "MicroLens-50k_titles.csv"


def read_microlens(source: Path) -> Interactions:
    """MicroLens-50k: a line of items for each user, in order of time, and a title for each item.

    Args:
        source: Folder with ``MicroLens-50k_pairs.tsv`` and ``MicroLens-50k_titles.csv``.

    Returns:
        The interactions; ``timestamp`` is the place among the user's own, from 0.
    """
    log = read_lists(source / PAIRS, "utf-8", counting=True, need_items=True)
    table = TextTable(source / TITLES, TableOptions(",", header=True, encoding="utf-8"))
    if table.columns != ["item", "title"]:
        raise line_error(table.path, 1, f"the columns {table.columns}", "item, title")
    rows = table.read({"item": ID, "title": TEXT})
    counts: Counter[str] = Counter()
    ids = ids_of(table, rows["item"], counting=True)
    distinct_rows(table, ids)
    columns = {"item_id:token": ids, "title:token_seq": texts_of(rows["title"], counts)}
    return replace(log, item_table=Table(table.path, columns), counts=counts)

"""MovieLens-1M and 10M: ratings with times, movies and, of the former, users."""

from collections import Counter
from pathlib import Path

import pyarrow.compute as pc

from recbole_diffusion.base.files import is_file_or_absent
from recbole_diffusion.convert.interactions import Interactions, Table, distinct_rows
from recbole_diffusion.convert.tables import ID, NUMBER_KIND, TEXT, TableOptions, TextTable
from recbole_diffusion.convert.values import ids_of, numbers_of, texts_of, times_of

USER_COLUMNS = ("gender", "age", "occupation", "zip_code")


def read_movielens(source: Path) -> Interactions:
    """MovieLens-1M or 10M as GroupLens publishes it: fields separated by ``::``.

    A file that is not UTF-8 is read as latin-1, as the published ones are, which the notes tell.

    Args:
        source: Folder with ``ratings.dat``, ``movies.dat`` and, if there is one, ``users.dat``.

    Returns:
        The interactions with ratings and times, and the tables.
    """
    ratings = _open(source / "ratings.dat", "user", "item", "rating", "timestamp")
    rows = ratings.read({"user": ID, "item": ID, "rating": NUMBER_KIND, "timestamp": NUMBER_KIND})
    numbers = {
        "rating": numbers_of(ratings, "rating", rows["rating"]),
        "timestamp": times_of(ratings, "timestamp", rows["timestamp"])[0],
    }
    users, items = (ids_of(ratings, rows[name], counting=True) for name in ("user", "item"))
    movies = _open(source / "movies.dat", "item", "title", "genre")
    counts: Counter[str] = Counter()
    item_table = _table(movies, "item", {"title": "token_seq", "genre": "token_seq"}, counts)
    genres = pc.replace_substring(item_table.columns["genre:token_seq"], "|", " ")
    user_table, user_notes = None, []
    if is_file_or_absent(source / "users.dat"):
        people = _open(source / "users.dat", "user", *USER_COLUMNS)
        user_table = _table(people, "user", dict.fromkeys(USER_COLUMNS, "token"), counts)
        user_notes = people.notes
    return Interactions(
        ratings.path,
        users,
        items,
        numbers,
        Table(movies.path, {**item_table.columns, "genre:token_seq": genres}),
        user_table,
        counts,
        [*ratings.notes, *movies.notes, *user_notes],
    )


def _open(path: Path, *columns: str) -> TextTable:
    return TextTable(path, TableOptions("::", header=False, columns=columns, quotes=False))


def _table(table: TextTable, key: str, types: dict[str, str], counts: Counter[str]) -> Table:
    rows = table.read({key: ID, **dict.fromkeys(types, TEXT)})
    ids = ids_of(table, rows[key], counting=True)
    distinct_rows(table, ids)
    texts = {f"{name}:{kind}": texts_of(rows[name], counts) for name, kind in types.items()}
    return Table(table.path, {f"{key}_id:token": ids, **texts})

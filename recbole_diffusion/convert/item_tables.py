"""Tables of items: their own, or what a table of interactions tells of its items."""

import re
import shlex
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.convert.columns import listed, plain_name
from recbole_diffusion.convert.interactions import Interactions, Table, distinct_rows
from recbole_diffusion.convert.records import open_table
from recbole_diffusion.convert.sources import source_refusals
from recbole_diffusion.convert.tables import ID, TEXT
from recbole_diffusion.convert.user_columns import CsvOptions, decimal_and_note, find_column
from recbole_diffusion.convert.values import filled_numbers, ids_of, numbers_of, texts_of

# RecBole keeps the columns of all files of a data set under one name each.
TAKEN = ("user_id", "item_id", "rating", "timestamp", "label")
LEAST_LISTS = 0.1  # of a column's texts that have a |, which then separates words


def is_same_file(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file."""
    return one.resolve() == other.resolve()


def with_items(
    log: Interactions, path: Path, columns: Mapping[str, str], options: CsvOptions
) -> Interactions:
    """The interactions with the columns of a table of items.

    Args:
        log: The interactions.
        path: The table; it may be theirs, of which those columns are kept that have one value for
            each item.
        columns: Of the interactions, by what they are.
        options: Which columns are what.

    Raises:
        UserError: As of ``convert_csv``.
    """
    is_same = is_same_file(path, log.path)
    storage = options.table if is_same else replace(options.table, header=None, columns=None)
    table = open_table(path, storage)
    key = columns["item"] if is_same else _item_key(table, log, columns["item"], options)
    with source_refusals(path):
        others = _not_of_items(table, key, columns.values()) if is_same else ()
    kept, names, nested = _kept_columns(path, table, key, others, options)
    with source_refusals(path):
        rows = table.read({key: ID, **dict.fromkeys(kept, TEXT)})
    ids = ids_of(table, rows[key])
    chosen = distinct_rows(table, ids, is_same or options.items_duplicates == "first")
    counts = Counter(log.counts)
    if len(chosen) < len(ids) and not is_same:
        counts[f"rows of {path.name} left out, their item repeated"] = len(ids) - len(chosen)
    taken = f"{path.name}: taken for {table.title}: {key} -> item"
    left = f"{path.name}: columns left out, neither texts nor numbers: {listed(nested)}"
    notes = [*log.notes, taken, *table.notes, *([left] if nested else [])]
    fields: dict[str, Any] = {"item_id:token": ids}
    numbers = []
    for column, name in zip(kept, names, strict=True):
        if column in options.float_columns:
            found = rows[column]
            fields[f"{name}:float"], told = _optional_numbers(table, column, found, options)
            notes += told
        else:
            with source_refusals(path):
                texts = texts_of(rows[column], counts)
            fields[f"{name}:token_seq"], told = _spaced(texts, column)
            notes += told
            found_numbers = filled_numbers(texts)
            if found_numbers is not None and len(found_numbers):
                numbers.append(name)
                notes.append(
                    f"{path.name}: {listed([column])} holds numbers, which are no words: left out "
                    f"of the feature text; --float-columns {shlex.quote(column)} keeps them so"
                )
    if len(chosen) < len(ids):
        fields = {name: values.take(pa.array(chosen)) for name, values in fields.items()}
    return replace(log, item_table=Table(path, fields, numbers), counts=counts, notes=notes)


def _item_key(table: Any, log: Interactions, item_column: str, options: CsvOptions) -> str:
    """The column of the items: as in the interactions, a usual one; without a header the first."""
    if options.item_key is None and item_column in table.columns and table.has_header:
        return item_column
    if options.item_key is None and not table.has_header:
        ids = pa.array(log.items.dictionary.to_pylist(), pa.string())
        if pc.any(pc.is_in(table.head(table.columns[0]).cast(pa.string()), ids)).as_py():
            return str(table.columns[0])
    return find_column(table, "--item-key", options.item_key, "item")


def _not_of_items(table: Any, key: str, taken: Collection[str]) -> list[str]:
    """Columns of interactions that are used, or do not have one value for each item."""
    names = [c for c in table.columns if c and c not in (*taken, *table.nested)]
    rows = table.read({key: ID, **dict.fromkeys(names, TEXT)})
    items = ids_of(table, rows[key])
    changing = []
    for name in names:
        pairs = pa.table({"item": items, "value": rows[name].cast(pa.large_string())})
        counts = pairs.group_by("item").aggregate([("value", "count_distinct")])
        if pc.max(counts["value_count_distinct"]).as_py() > 1:
            changing.append(name)
    return [*taken, *changing]


def _kept_columns(
    path: Path, table: Any, key: str, others: Collection[str], options: CsvOptions
) -> tuple[list[str], list[str], list[str]]:
    """Columns of a table of items that are kept, their fields, and those left out as nested."""
    nested = [c for c in table.columns if c in table.nested and options.item_columns is None]
    unasked = {"", key, *nested, *others}
    kept = options.item_columns or [c for c in table.columns if c not in unasked]
    for option, columns, known in (
        ("--item-columns", kept, set(table.columns) - {"", key}),
        ("--float-columns", options.float_columns, set(kept)),
    ):
        missing = [column for column in columns if column not in known]
        if missing or len(set(columns)) < len(columns):
            expected = f"distinct columns of {sorted(known)}"
            raise UserError(f"{path}: option {option}: found {list(columns)}, expected {expected}.")
    names = [field_name(column) for column in kept]
    if len(set(names)) < len(names):
        raise UserError(
            f"{path}, line 1: found columns that become {names}, expected --item-columns without "
            "equals."
        )
    return list(kept), names, nested


def _spaced(texts: pa.ChunkedArray, column: str) -> tuple[pa.ChunkedArray, list[str]]:
    """Words that ``|`` separates, as MovieLens writes genres, as a sequence; and a note of it."""
    filled = texts.filter(pc.not_equal(texts, ""))
    n_lists = pc.sum(pc.match_substring_regex(filled, r"\S\|\S")).as_py() or 0
    if n_lists < LEAST_LISTS * len(filled):
        return texts, []
    is_told = plain_name(column) not in ("genre", "genres")
    note = [f"{column}: several words, A|B, written with spaces"] if is_told and n_lists else []
    return pc.replace_substring(texts, "|", " "), note


def _optional_numbers(
    table: Any, column: str, found: pa.ChunkedArray, options: CsvOptions
) -> tuple[pa.ChunkedArray, list[str]]:
    """Numbers as they stand, or nothing; and a note on their decimals, or none."""
    texts = pc.utf8_trim_whitespace(found.cast(pa.large_string()).fill_null(""))
    filled = pc.if_else(pc.equal(texts, ""), "0", texts)
    decimal, told = decimal_and_note(column, filled, options)
    numbers_of(table, column, filled, decimal)
    return pc.replace_substring(texts, decimal, "."), told


def field_name(column: str) -> str:
    """A column's name in atomic files: letters, digits and ``_``, and none that RecBole takes."""
    name = re.sub(r"\W+", "_", re.sub(r":(token|float)(_seq)?$", "", column))
    return f"item_{name}" if name in TAKEN else name

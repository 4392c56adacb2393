"""Data of your own: a table of interactions, and one of items, into a data set that runs."""

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.convert.columns import (
    KNOWN,
    USUAL,
    guessed,
    listed,
    plain_name,
    told_left_out,
)
from recbole_diffusion.convert.interactions import Interactions, Table, distinct_rows
from recbole_diffusion.convert.reading import shown
from recbole_diffusion.convert.records import open_table
from recbole_diffusion.convert.selection import Selection
from recbole_diffusion.convert.sources import source_refusals
from recbole_diffusion.convert.tables import ID, NUMBER_KIND, TEXT, TableOptions
from recbole_diffusion.convert.unsplit import EVERYTHING, InteractionsReport, convert_interactions
from recbole_diffusion.convert.values import decimal_of, ids_of, numbers_of, texts_of, times_of
from recbole_diffusion.convert.writing import check_name

OPTIONAL = ("rating", "timestamp", "event")
# RecBole keeps the columns of all files of a data set under one name each.
TAKEN = ("user_id", "item_id", "rating", "timestamp", "label")
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
        timestamp: Column of the times: numbers, or ISO 8601 dates.
        event: Column of what a row tells of, such as views.
        events: Values of it to keep; all by default.
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
    event: str | None = None
    events: tuple[str, ...] | None = None
    items: Path | None = None
    item_key: str | None = None
    item_columns: tuple[str, ...] | None = None
    float_columns: tuple[str, ...] = ()
    items_duplicates: str = "error"
    table: TableOptions = TableOptions()


def convert_csv(
    source: Path,
    output: Path,
    name: str,
    options: CsvOptions,
    overwrite: bool = False,
    selection: Selection = EVERYTHING,
) -> InteractionsReport:
    """Converts a table of interactions, and one of items.

    Writes ``<output>/<name>/<name>.inter``, ``<name>.item`` if there is a table of items, and the
    property file ``<name>.yaml``, so that the name alone runs it. Of rows with the same user and
    item one is kept, as ``selection`` says. Ids stay as they stand; a tab or line break in a text
    becomes a space.

    Args:
        source: Table of text, JSON lines or Parquet, a row an interaction.
        output: Folder of data sets; created if missing.
        name: Name of the data set.
        options: Which columns are what.
        overwrite: Whether existing files may be replaced.
        selection: Of rows and ids.

    Returns:
        The counts of what was written and left out.

    Raises:
        UserError: The name is no file name, one of RecBole's data sets or that of a shipped one
            whose split is given, a column is missing or ambiguous, a table is missing, empty or
            malformed, or an output file exists.
    """
    check_name(name, output)
    log = read_own(source, options)
    return convert_interactions(log, output, name, overwrite, True, selection)


def read_own(source: Path, options: CsvOptions) -> Interactions:
    """Reads a table of interactions, and one of items.

    Args:
        source: The interactions.
        options: Which columns are what.

    Returns:
        The interactions; the notes say what was guessed.

    Raises:
        UserError: As of ``convert_csv``.
    """
    _check_options(options)
    with source_refusals(source):  # types of Parquet that are neither texts nor numbers
        log, item_column = _read_interactions(source, options)
    return log if options.items is None else _with_items(log, options.items, item_column, options)


def _read_interactions(source: Path, options: CsvOptions) -> tuple[Interactions, str]:
    """The interactions, and the column of their items."""
    table = open_table(source, options.table)
    columns = find_columns(table, options)
    taken = ", ".join(f"{column} -> {what}" for what, column in columns.items())
    notes = [f"{source.name}: taken for {table.title}: {taken}", *table.notes]
    kinds = {"user": ID, "item": ID, "event": TEXT}
    rows = table.read({column: kinds.get(what, NUMBER_KIND) for what, column in columns.items()})
    numbers: dict[str, np.ndarray] = {}
    if "rating" in columns:
        ratings = rows[columns["rating"]]
        decimal, told = _decimal(columns["rating"], ratings, options)
        numbers["rating"] = numbers_of(table, columns["rating"], ratings, decimal)
        notes += told
    if "timestamp" in columns:
        times = rows[columns["timestamp"]]
        numbers["timestamp"], unit = times_of(
            table, columns["timestamp"], times, options.table.decimal or "."
        )
        if unit is not None:
            notes.append(f"{columns['timestamp']}: taken for {unit}, written as seconds")
    notes += told_left_out(table, columns.values(), "timestamp" in columns)
    users, items = (ids_of(table, rows[columns[what]]) for what in ("user", "item"))
    log = Interactions(source, users, items, numbers, notes=notes)
    if "event" in columns:
        log = _of_events(log, columns["event"], rows[columns["event"]], options.events)
    return log, columns["item"]


def _check_options(options: CsvOptions) -> None:
    for option in ("item_key", "item_columns", "float_columns"):
        if getattr(options, option) and options.items is None:
            flag = f"--{option.replace('_', '-')}"
            raise UserError(f"option {flag}: found without --items, expected a table of items too.")


def _of_events(
    log: Interactions, column: str, found: pa.ChunkedArray, wanted: Sequence[str] | None
) -> Interactions:
    """The rows of some events; tells which events there are."""
    counted = pc.value_counts(found.combine_chunks()).to_pylist()
    values = {str(entry["values"]): entry["counts"] for entry in counted}
    told = ", ".join(f"{shown(value)} {count}" for value, count in list(values.items())[:10])
    if wanted is None:
        advice = f"{column}: all events kept ({told}); --events=... keeps some"
        return replace(log, notes=[*log.notes, advice])
    missing = [value for value in wanted if value not in values]
    if missing:
        raise UserError(
            f"{log.path}: column {column}: found the events {told}, expected {missing[0]!r} among "
            "them (option --events)."
        )
    is_kept = pc.is_in(found.cast(pa.large_string()), pa.array(wanted, pa.large_string()))
    kept = log.take(is_kept.to_numpy())
    kept.counts[f"rows of other events than {', '.join(wanted)}"] = len(log) - len(kept)
    return kept


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
    columns = {}
    for what in KNOWN:
        given = getattr(options, what)
        needs = what not in OPTIONAL or (what == "event" and options.events is not None)
        if given is not None or needs or guessed(table, what):
            columns[what] = _find_column(table, f"--{what}", given, what)
    if len(set(columns.values())) < len(columns):
        raise UserError(f"{table.path}, line 1: found one column named for two of {columns}.")
    return columns


def _find_column(table: Any, option: str, given: str | None, what: str) -> str:
    if given is not None:
        matches = [given] if given in table.columns else []
        expected = f"{shown(given)} (option {option}) among them"
    else:
        matches = guessed(table, what)
        if {"asin", "parent_asin"} == set(matches):  # variants of a product share the second
            matches = ["parent_asin"]
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


def _kept_columns(
    path: Path, table: Any, key: str, options: CsvOptions
) -> tuple[list[str], list[str], list[str]]:
    """Columns of a table of items that are kept, their fields, and those left out as nested."""
    nested = [c for c in table.columns if c in table.nested and options.item_columns is None]
    kept = options.item_columns or [c for c in table.columns if c and c not in (key, *nested)]
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


def _with_items(
    log: Interactions, path: Path, item_column: str, options: CsvOptions
) -> Interactions:
    """The interactions with the columns of a table of items."""
    storage = replace(options.table, header=None, columns=None)
    table = open_table(path, storage)
    own = [column for column in table.columns if column == item_column]
    key = own[0] if own and options.item_key is None else None
    key = key or _find_column(table, "--item-key", options.item_key, "item")
    kept, names, nested = _kept_columns(path, table, key, options)
    with source_refusals(path):
        rows = table.read({key: ID, **dict.fromkeys(kept, TEXT)})
    ids = ids_of(table, rows[key])
    chosen = distinct_rows(table, ids, options.items_duplicates == "first")
    counts = Counter(log.counts)
    if len(chosen) < len(ids):
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
            fields[f"{name}:token_seq"] = _spaced(texts, column)
            if _are_numbers(texts):
                numbers.append(name)
                notes.append(
                    f"{path.name}: {listed([column])} holds numbers, which are no words: left out "
                    f"of the feature text; --float-columns {shlex.quote(column)} keeps them so"
                )
    if len(chosen) < len(ids):
        fields = {name: values.take(pa.array(chosen)) for name, values in fields.items()}
    return replace(log, item_table=Table(path, fields, numbers), counts=counts, notes=notes)


def _spaced(texts: pa.ChunkedArray, column: str) -> pa.ChunkedArray:
    """Genres as MovieLens writes them, ``A|B``, as a sequence of tokens."""
    return (
        pc.replace_substring(texts, "|", " ")
        if plain_name(column) in ("genre", "genres")
        else texts
    )


def _are_numbers(texts: pa.ChunkedArray) -> bool:
    """Whether all texts of a column that are not empty are numbers, and one is there."""
    trimmed = pc.utf8_trim_whitespace(texts)
    filled = trimmed.filter(pc.not_equal(trimmed, ""))
    try:
        return len(pc.replace_substring(filled, ",", ".").cast(pa.float64())) > 0
    except pa.ArrowInvalid:
        return False


def _optional_numbers(
    table: Any, column: str, found: pa.ChunkedArray, options: CsvOptions
) -> tuple[pa.ChunkedArray, list[str]]:
    """Numbers as they stand, or nothing; and a note on their decimals, or none."""
    texts = pc.utf8_trim_whitespace(found.cast(pa.large_string()).fill_null(""))
    filled = pc.if_else(pc.equal(texts, ""), "0", texts)
    decimal, told = _decimal(column, filled, options)
    numbers_of(table, column, filled, decimal)
    return pc.replace_substring(texts, decimal, "."), told


def _decimal(column: str, found: pa.ChunkedArray, options: CsvOptions) -> tuple[str, list[str]]:
    """What separates a column's decimals, and a note where it was found out and is a comma."""
    if options.table.decimal is not None:
        return options.table.decimal, []
    decimal = decimal_of(found)
    return decimal, [f"{column}: decimals behind a comma"] if decimal == "," else []


def field_name(column: str) -> str:
    """A column's name in atomic files: letters, digits and ``_``, and none that RecBole takes."""
    name = re.sub(r"\W+", "_", re.sub(r":(token|float)(_seq)?$", "", column))
    return f"item_{name}" if name in TAKEN else name

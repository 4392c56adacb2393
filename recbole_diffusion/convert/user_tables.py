"""Data of your own: a table of interactions, and one of items, into a data set that runs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.convert.columns import (
    told_left_out,
)
from recbole_diffusion.convert.interactions import Interactions
from recbole_diffusion.convert.item_tables import is_same_file, with_items
from recbole_diffusion.convert.missing import without_missing
from recbole_diffusion.convert.reading import shown
from recbole_diffusion.convert.records import open_table
from recbole_diffusion.convert.selection import Selection
from recbole_diffusion.convert.sources import source_refusals
from recbole_diffusion.convert.tables import ID, NUMBER_KIND, TEXT
from recbole_diffusion.convert.unsplit import EVERYTHING, InteractionsReport, convert_interactions
from recbole_diffusion.convert.user_columns import CsvOptions, decimal_and_note, find_columns
from recbole_diffusion.convert.values import ids_of, numbers_of, times_of
from recbole_diffusion.convert.writing import check_name
from recbole_diffusion.data.numbers import is_number


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


def read_own(source: Path, options: CsvOptions, is_amazon: bool = False) -> Interactions:
    """Reads a table of interactions, and one of items.

    Args:
        source: The interactions.
        options: Which columns are what.
        is_amazon: Whether a table of items of another form is read beside.

    Returns:
        The interactions; the notes say what was guessed.

    Raises:
        UserError: As of ``convert_csv``.
    """
    _check_options(options)
    with source_refusals(source):  # types of Parquet that are neither texts nor numbers
        log, columns = _read_interactions(source, options, is_amazon)
    return log if options.items is None else with_items(log, options.items, columns, options)


def _read_interactions(
    source: Path, options: CsvOptions, is_amazon: bool
) -> tuple[Interactions, dict[str, str]]:
    """The interactions, and their columns."""
    table = open_table(source, options.table)
    columns = find_columns(table, options)
    _refuse_header(table, columns, options)
    if options.date_format is not None and "timestamp" not in columns:
        raise UserError(
            f"{source}: found option --date-format and no column of times, expected its name by "
            "--timestamp too."
        )
    taken = ", ".join(f"{column} -> {what}" for what, column in columns.items())
    notes = [f"{source.name}: taken for {table.title}: {taken}", *table.notes]
    kinds = {"user": ID, "item": ID, "event": TEXT}
    rows = table.read({column: kinds.get(what, NUMBER_KIND) for what, column in columns.items()})
    places: Any = table  # which name rows in errors
    if options.drop_missing:
        rows, places = without_missing(rows, table, [c for w, c in columns.items() if w != "event"])
    numbers: dict[str, np.ndarray] = {}
    if "rating" in columns:
        ratings = rows[columns["rating"]]
        decimal, told = decimal_and_note(columns["rating"], ratings, options)
        numbers["rating"] = numbers_of(places, columns["rating"], ratings, decimal)
        notes += told
    if "timestamp" in columns:
        times = rows[columns["timestamp"]]
        numbers["timestamp"], unit = times_of(
            places,
            columns["timestamp"],
            times,
            options.table.decimal or ".",
            options.date_format,
        )
        if unit is not None:
            notes.append(f"{columns['timestamp']}: taken for {unit}, written as seconds")
    if options.items is None or not is_same_file(options.items, source):
        notes += told_left_out(table, columns, has_items=is_amazon or options.items is not None)
    users, items = (ids_of(places, rows[columns[what]]) for what in ("user", "item"))
    log = Interactions(source, users, items, numbers, notes=notes)
    if options.drop_missing:
        log.counts["rows left out, without a user, item, rating or time"] = places.n_dropped
    if "event" in columns:
        log = _of_events(log, columns["event"], rows[columns["event"]], options.events)
    return log, columns


def _refuse_header(table: Any, columns: Mapping[str, str], options: CsvOptions) -> None:
    """Refuse ``--columns`` for a table whose first line names them."""
    first = table.head(columns["rating"]).to_pylist()[:1] if "rating" in columns else []
    if options.table.columns is not None and first and not is_number(first[0].replace(",", ".")):
        raise UserError(
            f"{table.path}, line 1: found rating {shown(first[0])}, which looks like a header, "
            "expected a row: --columns names the columns of a table without one; --user, --item, "
            "--rating and --timestamp choose among those of a header."
        )


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

"""Data of your own: a CSV of interactions, and a CSV of items, into a data set that runs."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.convert.common import INTER_HEADER
from recbole_diffusion.convert.csv_table import CsvTable, advising_delimiter, parse_token, read_csv
from recbole_diffusion.convert.reading import line_error, parse_number, shown
from recbole_diffusion.convert.unsplit import (
    Interactions,
    InteractionsReport,
    Table,
    convert_interactions,
    count_breaks,
    distinct_ids,
)
from recbole_diffusion.convert.writing import check_name
from recbole_diffusion.data.atomic import NUMBER
from recbole_diffusion.settings.property_files import properties_folder, read_properties
from recbole_diffusion.settings.values import as_yaml

# Names that a column is known by, where none is given.
GUESSES = {
    "user": ("user_id", "userId", "user"),
    "item": ("item_id", "itemId", "item"),
    "rating": ("rating",),
    "timestamp": ("timestamp", "time"),
}
OPTIONAL = ("rating", "timestamp")
# RecBole keeps the columns of all files of a data set under one name each.
TAKEN = ("user_id", "item_id", "rating", "timestamp", "label")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class CsvOptions:
    """Which columns of a user's tables are what; None asks to guess.

    Attributes:
        user: Column of the users.
        item: Column of the items.
        rating: Column of the ratings.
        timestamp: Column of the times: numbers, or ISO 8601 dates.
        items: Table of items.
        item_key: Its column of the items.
        item_columns: Its columns to keep; all others by default.
        float_columns: Those of them that are numbers; the rest are texts.
        delimiter: One character, in both tables.
    """

    user: str | None = None
    item: str | None = None
    rating: str | None = None
    timestamp: str | None = None
    items: Path | None = None
    item_key: str | None = None
    item_columns: tuple[str, ...] | None = None
    float_columns: tuple[str, ...] = ()
    delimiter: str | None = None


def convert_csv(
    source: Path, output: Path, name: str, options: CsvOptions, overwrite: bool = False
) -> InteractionsReport:
    """Converts a table of interactions, and one of items.

    Writes ``<output>/<name>/<name>.inter``, ``<name>.item`` if there is a table of items, and the
    property file ``<name>.yaml``, so that the name alone runs it. Of rows with the same user and
    item the first is kept. Ids stay as they stand; a tab or line break in a text becomes a space.

    Args:
        source: CSV or TSV with a header, a row an interaction.
        output: Folder of data sets; created if missing.
        name: Name of the data set.
        options: Which columns are what.
        overwrite: Whether existing files may be replaced.

    Returns:
        The counts of what was written and left out.

    Raises:
        UserError: The name is no file name, one of RecBole's data sets or that of a shipped one
            whose split is given, a column is missing or ambiguous, a table is missing, empty or
            malformed, or an output file exists.
    """
    check_name(name, output)
    _check_shipped(name)
    _check_options(options)
    with advising_delimiter(source, options.delimiter):
        table = read_csv(source, options.delimiter)
        columns = _find_columns(table, options)
    kinds = {what: f"{what}:float" for what in OPTIONAL if what in columns}
    rows = _interactions(table, columns)
    counts: Counter[str] = Counter()
    items: Table | None = None
    types: dict[str, str] = {}
    if options.items is not None:
        items, types = _item_table(options.items, columns["item"], options, counts)
    header = "\t".join([INTER_HEADER, *kinds.values()])
    log = Interactions(source, header, rows, items, counts=counts)
    properties = _property_lines(source, list(kinds), types)
    return convert_interactions(log, output, name, overwrite, properties)


def _check_shipped(name: str) -> None:
    """The shipped file lies beneath ours, and would look for the files of its split."""
    path = properties_folder() / "dataset" / f"{name}.yaml"
    if path.is_file() and "benchmark_filename" in read_properties(path):
        raise UserError(
            f"name: found {name!r}, a released data set whose split is given ({path}), expected "
            "another name."
        )


def _check_options(options: CsvOptions) -> None:
    delimiter = options.delimiter
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise UserError(f"option --delimiter: found {delimiter!r}, expected one character.")
    for option in ("item_key", "item_columns", "float_columns"):
        if getattr(options, option) and options.items is None:
            flag = f"--{option.replace('_', '-')}"
            raise UserError(f"option {flag}: found without --items, expected a table of items too.")


def _find_columns(table: CsvTable, options: CsvOptions) -> dict[str, str]:
    """The table's column of users, items and, where there are such, ratings and times."""
    columns = {}
    for what, guesses in GUESSES.items():
        column = getattr(options, what)
        if column is not None or what not in OPTIONAL or set(guesses) & set(table.columns):
            columns[what] = _find_column(table, f"--{what}", column, guesses)
    if len(set(columns.values())) < len(columns):
        raise UserError(f"{table.path}, line 1: found one column named for two of {columns}.")
    return columns


def _find_column(table: CsvTable, option: str, given: str | None, guesses: Sequence[str]) -> str:
    wanted = guesses if given is None else [given]
    matches = [column for column in wanted if column in table.columns]
    if len(matches) != 1:
        one_of = "exactly one of " if len(wanted) > 1 else ""
        expected = f"{one_of}{', '.join(wanted)}, or another one named by {option}"
        if given is not None:
            expected = f"{shown(given)} (option {option}) among them"
        raise line_error(table.path, 1, f"the columns {table.columns}", expected)
    return matches[0]


def _interactions(table: CsvTable, columns: dict[str, str]) -> Iterator[list[str]]:
    numbers = [what for what in OPTIONAL if what in columns]
    parsers = {"rating": parse_number, "timestamp": parse_time}
    for number, row in table.rows:
        ids = [parse_token(table.path, number, row[columns[what]]) for what in ("user", "item")]
        yield ids + [
            parsers[what](table.path, number, columns[what], row[columns[what]]) for what in numbers
        ]


def parse_time(path: Path, number: int, column: str, text: str) -> str:
    """Seconds since 1970 from a number or an ISO 8601 date; without a zone it is in UTC.

    Raises:
        UserError: Another text; the message names file, line and column.
    """
    text = text.strip()
    if NUMBER.fullmatch(text):
        return parse_number(path, number, column, text)
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        expected = "seconds as a number, or an ISO 8601 date such as 2024-05-01T12:30:00"
        raise line_error(path, number, f"{column} {shown(text)}", expected) from error
    since = (time if time.tzinfo else time.replace(tzinfo=UTC)) - EPOCH
    seconds, rest = divmod(since // MICROSECOND, 10**6)
    return str(seconds + rest / 10**6 if rest else seconds)


def _item_table(
    path: Path, item_column: str, options: CsvOptions, counts: Counter[str]
) -> tuple[Table, dict[str, str]]:
    """The rows to write, and the type of each column by its new name."""
    with advising_delimiter(path, options.delimiter):
        table = read_csv(path, options.delimiter)
        guesses = (item_column,) if item_column in table.columns else GUESSES["item"]
        key = _find_column(table, "--item-key", options.item_key, guesses)
    kept = options.item_columns or [c for c in table.columns if c and c != key]
    for option, columns, known in (
        ("--item-columns", kept, set(table.columns) - {"", key}),
        ("--float-columns", options.float_columns, set(kept)),
    ):
        missing = [column for column in columns if column not in known]
        if missing or len(set(columns)) < len(columns):
            expected = f"distinct columns of {sorted(known)}"
            raise UserError(f"{path}: option {option}: found {list(columns)}, expected {expected}.")
    names = {
        column: (field_name(column), "float" if column in options.float_columns else "token_seq")
        for column in kept
    }
    types = dict(names.values())
    if len(types) < len(names):
        fields = [field for field, _ in names.values()]
        raise line_error(path, 1, f"columns that become {fields}", "--item-columns without equals")
    header = "\t".join(["item_id:token", *(f"{field}:{kind}" for field, kind in types.items())])
    rows = distinct_ids(path, _item_rows(table, key, kept, options.float_columns, counts))
    return Table(path, header, rows), types


def field_name(column: str) -> str:
    """A column's name in atomic files: letters, digits and ``_``, and none that RecBole takes."""
    name = re.sub(r"\W+", "_", column)
    return f"item_{name}" if name in TAKEN else name


def _item_rows(
    table: CsvTable,
    key: str,
    kept: Sequence[str],
    float_columns: Sequence[str],
    counts: Counter[str],
) -> Iterator[tuple[int, list[str]]]:
    as_text = partial(count_breaks, counts)
    for number, row in table.rows:
        fields = [parse_token(table.path, number, row[key])]
        for column in kept:
            text = row[column]
            is_number = column in float_columns and text.strip()
            fields.append(
                parse_number(table.path, number, column, text) if is_number else as_text(text)
            )
        yield number, fields


def _property_lines(source: Path, numbers: list[str], types: dict[str, str]) -> Iterator[str]:
    texts = [field for field, kind in types.items() if kind == "token_seq"]
    yield f"# Converted from {_flow(source.name)}; keys given in a run override these."
    yield "USER_ID_FIELD: user_id  # str; column of the users"
    yield "ITEM_ID_FIELD: item_id  # str; column of the items"
    if "rating" in numbers:
        yield "RATING_FIELD: rating  # str; column of the ratings"
    if "timestamp" in numbers:
        yield "TIME_FIELD: timestamp  # str; column of the times, in seconds"
    yield "load_col:  # dict; columns to read, by file suffix"
    yield f"  inter: {_flow(['user_id', 'item_id', *numbers])}"
    if types:
        yield f"  item: {_flow(['item_id', *types])}"
    if texts:
        yield "item_features:  # dict; what models that read item features can name"
        yield f"  text: {{fields: {_flow(texts)}}}"


def _flow(value: str | list[str]) -> str:
    """A value as YAML on one line, quoted where it must be."""
    text = as_yaml(value, default_flow_style=True, width=10**9)
    return text.removesuffix("...\n").strip()

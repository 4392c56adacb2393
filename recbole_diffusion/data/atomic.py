"""Reading one atomic file: every text as it stands, every row as long as the header."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recbole_diffusion.data.columns import read_header, text_encoding
from recbole_diffusion.errors import UserError

# An empty field alone is missing; `NA`, `None` and quotation marks are texts like any other.
AS_IT_STANDS: dict[str, Any] = {
    "engine": "c",
    "quoting": csv.QUOTE_NONE,
    "keep_default_na": False,
    "na_values": [""],
}


def read_atomic_file(path: str | Path, **options: Any) -> pd.DataFrame:
    """Read as RecBole asks pandas to, but without its guesses about texts.

    Args:
        path: The file.
        **options: RecBole's arguments of ``pandas.read_csv``; its engine is not used.

    Returns:
        Texts unchanged; NaN where a field is empty, an empty text where a sequence is.

    Raises:
        UserError: A row with more or fewer fields than the header, or a text in a column of
            numbers.
    """
    check_rows(path, options["delimiter"], options["encoding"] or "utf-8")
    options |= AS_IT_STANDS
    try:
        table = pd.read_csv(path, **options)
    except ValueError:
        _refuse_texts_as_numbers(path, options)
        raise
    for column in table.columns[table.columns.str.endswith("_seq")]:
        table[column] = table[column].fillna("")
    return table


def read_item_texts(
    config: Any, fields: Sequence[str], kind: str | None = None
) -> tuple[Path, pd.DataFrame]:
    """Columns of the ``.item`` file as they stand there, whatever ``load_col`` says.

    Args:
        config: Settings, which name the data set, its folder and its separator.
        fields: Columns beside the ids.
        kind: RecBole's type that these must have; None takes any.

    Returns:
        The file, and its texts: the column of the ids first, an empty text where a field is empty.

    Raises:
        UserError: File or column missing, a column of another type, or a malformed row.
    """
    path = Path(config["data_path"]) / f"{config['dataset']}.item"
    separator, encoding = config["field_separator"], text_encoding(config["encoding"])
    if not path.is_file():
        raise UserError(f"{path}: no such file, expected it for its columns {', '.join(fields)}")
    header = read_header(path, encoding, separator)
    columns = {field: f"{field}:{kind}" for field, kind in header.items()}
    wanted = [config["ITEM_ID_FIELD"], *fields]
    for field in wanted:
        if field not in columns:
            raise UserError(
                f"{path}: found the columns {', '.join(columns.values())}, expected {field} "
                "among them"
            )
    for field in fields:
        if kind is not None and columns[field] != f"{field}:{kind}":
            raise UserError(f"{path}: found the column {columns[field]}, expected {field}:{kind}")
    named = [columns[field] for field in wanted]
    table = read_atomic_file(
        path, delimiter=separator, encoding=encoding, usecols=named, dtype=dict.fromkeys(named, str)
    )
    return path, table[named].fillna("").set_axis(wanted, axis=1)


def check_rows(path: str | Path, separator: str, encoding: str) -> None:
    """Count each row's separators; blank lines are no rows, as for pandas.

    Raises:
        UserError: The first row whose number of fields is not the header's.
    """
    blanks = " \t\n".replace(separator, "")
    with open(path, encoding=encoding) as lines:
        expected = next(lines, "").count(separator)
        for number, line in enumerate(lines, start=2):
            if line.count(separator) != expected and line.strip(blanks):
                raise UserError(
                    f"{path}, line {number}: found {line.count(separator) + 1} fields, expected "
                    f"{expected + 1} as in the header (key field_separator: {separator!r}, which "
                    "no text may hold)"
                )


def _refuse_texts_as_numbers(path: str | Path, options: dict[str, Any]) -> None:
    """Find what pandas could not read as a number, which it names without its column."""
    texts = pd.read_csv(path, **{**options, "dtype": str})
    for column in [name for name, kind in options["dtype"].items() if kind is np.float64]:
        found = texts[column].dropna()
        bad = found[pd.to_numeric(found, errors="coerce").isna()]
        if len(bad):
            raise UserError(
                f"{path}: column {column}: found {bad.iloc[0]!r} ({len(bad)} such rows), expected "
                "a number, or nothing where it is missing"
            )

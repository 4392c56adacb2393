"""Streaming a CSV or TSV file, with the line of each row."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.convert.reading import line_error, shown, text_lines

TAB_SUFFIXES = (".tsv", ".tab")
MAX_FIELD = 2**24  # characters; Python's own limit is 2^17, and a quote left open has no end
DELIMITERS = (",", ";", "\t", "|")
ID_BREAKS = ("\t", "\r", "\n")


@dataclass(frozen=True)
class CsvTable:
    """A table whose rows are read when they are iterated, once.

    Attributes:
        path: Where it lies.
        columns: Names in the header.
        rows: Number of each row's first line, counted from 1, and its fields by column.
    """

    path: Path
    columns: list[str]
    rows: Iterator[tuple[int, dict[str, str]]]


def read_csv(path: Path, delimiter: str | None = None) -> CsvTable:
    """Opens a table with a header; fields may stand in double quotes and then hold anything.

    Args:
        path: UTF-8 text, with or without a byte order mark; gzip if its name ends in ``.gz``.
        delimiter: One character; by default a tab for ``.tsv`` and ``.tab``, else a comma.

    Returns:
        The table. Its rows raise ``UserError``, with file and line, where a row is malformed or
        has another number of fields than the header.

    Raises:
        UserError: The file cannot be read or is empty, or a column occurs twice.
    """
    records = _records(path, delimiter or _usual_delimiter(path))
    number, header = next(records, (1, []))
    if not header:
        raise UserError(f"{path}: found no line, expected a header and at least one row.")
    columns = [column.strip() for column in header]
    repeated = [column for n, column in enumerate(columns) if column and column in columns[:n]]
    if repeated:
        raise line_error(path, number, f"the column {shown(repeated[0])} again", "each once")
    return CsvTable(path, columns, _rows(path, columns, records))


def _usual_delimiter(path: Path) -> str:
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    return "\t" if suffix in TAB_SUFFIXES else ","


@contextmanager
def advising_delimiter(path: Path, delimiter: str | None) -> Iterator[None]:
    """Name another delimiter in what is said of a table's header, if the header has more of it.

    Args:
        path: The table.
        delimiter: As ``read_csv`` was given it.

    Raises:
        UserError: The same, with the advice.
    """
    try:
        yield
    except UserError as error:
        _, header = next(text_lines(path), (1, ""))
        used = delimiter or _usual_delimiter(path)
        other = max(DELIMITERS, key=header.count)
        if header.count(other) <= header.count(used):
            raise
        raise UserError(f"{str(error).removesuffix('.')}; try --delimiter={other!r}.") from error


def _records(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Number of the first line, and fields, of each record that is not blank."""
    # The limit is the process's, so it is only raised.
    csv.field_size_limit(max(MAX_FIELD, csv.field_size_limit()))
    lines = (text for _, text in text_lines(path))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            found, expected = str(error), "fields as in CSV"
            if "new-line character" in found:  # how Python tells of old Mac line ends
                found = "a carriage return as the end of a line"
                expected = r"lines that end in \n or \r\n, and fields with breaks in double quotes"
            raise line_error(path, number, found, expected) from error
        if fields:
            yield number, fields


def _rows(
    path: Path, columns: list[str], records: Iterator[tuple[int, list[str]]]
) -> Iterator[tuple[int, dict[str, str]]]:
    for number, fields in records:
        if len(fields) != len(columns):
            found = f"{len(fields)} fields in {shown(' '.join(fields))}"
            raise line_error(path, number, found, f"{len(columns)} as in the header")
        yield number, dict(zip(columns, fields, strict=True))


def parse_token(path: Path, number: int, text: str) -> str:
    """An id as it stands.

    Raises:
        UserError: It is blank or holds a tab or line break; the message names file and line.
    """
    if not text.strip():
        raise line_error(path, number, f"the id {shown(text)}", "one that is not blank")
    if any(character in text for character in ID_BREAKS):
        raise line_error(path, number, f"the id {shown(text)}", "one without tabs and line breaks")
    return text

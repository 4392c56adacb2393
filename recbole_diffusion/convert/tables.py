"""Tables of text: how a file is separated and quoted, and its columns, read by PyArrow."""

import csv
import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.convert.reading import line_error, shown
from recbole_diffusion.convert.sources import SAMPLE, look_through, packing_of, source_refusals
from recbole_diffusion.data.numbers import NUMBER

ID, NUMBER_KIND, TEXT = "id", "number", "text"
TYPES = {
    ID: pa.dictionary(pa.int32(), pa.string()),
    NUMBER_KIND: pa.float64(),
    TEXT: pa.large_string(),
}
TAB_SUFFIXES = (".tsv", ".tab")
DELIMITERS = ("\t", ",", ";", "|", "::", " ")
NAMES = {"tab": "\t", "comma": ",", "semicolon": ";", "space": " ", "pipe": "|", "\\t": "\t"}
STAND_IN = "\x1f"  # for a delimiter of two characters, which no parser takes
MAX_FIELD = 2**24  # characters; Python's own limit is 2^17, and a quote left open has no end
BLOCK = 2**26  # bytes that are parsed at a time; no row may be longer


@dataclass(frozen=True)
class TableOptions:
    """How a table is stored; None asks to find out.

    Attributes:
        delimiter: One character, ``::``, or a name in ``NAMES``.
        header: Whether the first line names the columns.
        columns: Names of the columns of a table without a header.
        encoding: Such as ``utf-8``.
        quotes: Whether double quotes enclose fields.
        decimal: What separates decimals.
    """

    delimiter: str | None = None
    header: bool | None = None
    columns: tuple[str, ...] | None = None
    encoding: str | None = None
    quotes: bool | None = None
    decimal: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            UserError: A delimiter, decimal mark or encoding that is none.
        """
        found = self.separator
        if found is not None and found != "::" and (len(found) != 1 or found in '"\r\n\0'):
            raise UserError(
                f"option --delimiter: found {found!r}, expected one character, :: or one of "
                f"{', '.join(NAMES)}."
            )
        if self.decimal not in (None, ".", ","):
            raise UserError(f"option --decimal: found {self.decimal!r}, expected . or ,")
        try:
            "".encode(self.encoding or "utf-8")
        except (LookupError, ValueError):
            found = self.encoding
            expected = "one such as utf-8 or latin-1"
            raise UserError(f"option --encoding: found {found!r}, expected {expected}.") from None

    @property
    def separator(self) -> str | None:
        """The delimiter itself."""
        return None if self.delimiter is None else NAMES.get(self.delimiter, self.delimiter)


class TextTable:
    """A table of text, looked through once; its columns are read when asked for.

    Args:
        path: The file, plain or packed.
        options: How it is stored.

    Attributes:
        path: The file.
        columns: Names of its columns, without blanks around them.
        has_header: Whether the file names them.
        sample: Fields of its first rows.
        notes: What the report says of it.
        nested: Names of columns of lists or objects, of which text has none.

    Raises:
        UserError: It cannot be read, is empty, has a column twice, or a malformed row.
    """

    nested: tuple[str, ...] = ()

    def __init__(self, path: Path, options: TableOptions = TableOptions()) -> None:
        csv.field_size_limit(max(MAX_FIELD, csv.field_size_limit()))
        self.path = path
        self.options = options
        self.text = look_through(path, options.encoding)
        self.notes = list(self.text.notes)
        head = list(itertools.islice(self.text.lines(), SAMPLE))
        self.delimiter = options.separator or _find_delimiter(path, head)
        self.quotes, self.escape = options.quotes is not False, False
        self._choose_quoting()
        self.first_line, header = next(self._records(), (1, []))
        if not header:
            raise UserError(f"{path}: found no line, expected a header and at least one row.")
        has_no_numbers = not any(NUMBER.fullmatch(field.strip()) for field in header)
        is_header = options.columns is None and has_no_numbers
        self.has_header = is_header if options.header is None else options.header
        names = header if self.has_header else [f"column {n + 1}" for n in range(len(header))]
        self.columns = [name.strip() for name in options.columns or names]
        if len(self.columns) != len(header):
            found = f"{len(header)} fields in {shown(' '.join(header))}"
            expected = f"the {len(self.columns)} of --columns"
            raise line_error(path, self.first_line, found, expected)
        repeated = [c for n, c in enumerate(self.columns) if c and c in self.columns[:n]]
        if repeated:
            found = f"the column {shown(repeated[0])} again"
            raise line_error(path, self.first_line, found, "each once")
        rows = (fields for _, fields in self._records())
        self.sample = list(itertools.islice(rows, int(self.has_header), SAMPLE))
        if any(len(row) != len(self.columns) for row in self.sample):
            self._check_rows()

    @property
    def title(self) -> str:
        """How the file was taken."""
        names = {character: name for name, character in NAMES.items() if len(name) > 2}
        header = "a header" if self.has_header else "no header"
        delimiter = names.get(self.delimiter, self.delimiter)
        return f"a table with {header}, separated by {delimiter}"

    def head(self, column: str) -> pa.ChunkedArray:
        """First values of a column."""
        n = self.columns.index(column)
        return pa.chunked_array([[row[n] for row in self.sample]], pa.string())

    def read(self, kinds: Mapping[str, str]) -> pa.Table:
        """Reads columns.

        Args:
            kinds: ``ID``, ``NUMBER_KIND`` or ``TEXT`` by column.

        Returns:
            Ids as dictionaries; numbers as float64, or as texts if one of them is written in
            another way than PyArrow reads; texts as they stand.

        Raises:
            UserError: A row is malformed or not as long as the header, with its line.
        """
        with source_refusals(self.path):
            try:
                read = self._parsed(kinds)
                numbers = [read[c] for c, kind in kinds.items() if kind == NUMBER_KIND]
                if all(pc.all(pc.is_finite(column)).as_py() is not False for column in numbers):
                    return read
            except pa.ArrowInvalid:
                self._check_rows()
            as_texts = {c: TEXT if kind == NUMBER_KIND else kind for c, kind in kinds.items()}
            return self._parsed(as_texts)

    def _parsed(self, kinds: Mapping[str, str]) -> pa.Table:
        names = [name or f"\0{n}" for n, name in enumerate(self.columns)]
        quotes = self.quotes and self.text.quotes
        return pyarrow.csv.read_csv(
            self.text.stream(self._swaps()),
            pyarrow.csv.ReadOptions(
                use_threads=False,
                block_size=BLOCK,
                skip_rows=self.first_line - 1,
                column_names=names,
                skip_rows_after_names=int(self.has_header),
            ),
            pyarrow.csv.ParseOptions(
                delimiter=self._character(),
                quote_char='"' if quotes else False,
                escape_char="\\" if self.escape else False,
                newlines_in_values=quotes,
            ),
            pyarrow.csv.ConvertOptions(
                check_utf8=False,
                column_types={column: TYPES[kind] for column, kind in kinds.items()},
                null_values=[],
                decimal_point=self.options.decimal or ".",
                include_columns=list(kinds),
            ),
        )

    def error(self, row: int, found: str, expected: str) -> UserError:
        """The error for a row, counted from 0, that names its line."""
        records = itertools.islice(self._records(), row + bool(self.has_header), None)
        return line_error(self.path, next(records)[0], found, expected)

    def _character(self) -> str:
        return self.delimiter if len(self.delimiter) == 1 else STAND_IN

    def _swaps(self) -> tuple[tuple[str, str], ...]:
        return () if len(self.delimiter) == 1 else ((self.delimiter, STAND_IN),)

    def _choose_quoting(self) -> None:
        """Fields in quotes, unless a file of tabs or one with backslashes says otherwise."""
        if not (self.quotes and self.text.quotes) or self._is_quoted():
            return
        if self.text.escapes:
            self.escape = True
            if self._is_quoted():
                self.notes.append(f"{self.path.name}: quotes in texts are escaped by backslashes")
                return
            self.escape = False
        if self.options.quotes is None and self.delimiter in ("\t", "::"):
            self.quotes = False
            self.notes.append(f"{self.path.name}: quotes are part of the texts")
            return
        self._check_rows()

    def _is_quoted(self) -> bool:
        try:
            deque(self._reader(), maxlen=0)
        except csv.Error:
            return False
        return True

    def _reader(self) -> Any:
        lines: Iterable[str] = self.text.lines()
        if self._swaps():
            lines = (line.replace(self.delimiter, STAND_IN) for line in lines)
        return csv.reader(
            lines,
            delimiter=self._character(),
            strict=True,
            quoting=csv.QUOTE_MINIMAL if self.quotes else csv.QUOTE_NONE,
            escapechar="\\" if self.escape else None,
        )

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Number of the first line, and fields, of each record that is not blank."""
        reader = self._reader()
        while True:
            number = reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                found, expected = str(error), "fields as in CSV"
                if "new-line character" in found:  # how Python tells of old Mac line ends
                    found = "a carriage return inside a line"
                    expected = "lines that all end alike, and fields with breaks in double quotes"
                raise line_error(self.path, number, found, expected) from error
            if fields:
                yield number, fields

    def _check_rows(self) -> None:
        """Name the first row that is malformed or of another length."""
        n_columns = len(self.columns) if hasattr(self, "columns") else None
        for number, fields in self._records():
            n_columns = n_columns or len(fields)
            if len(fields) != n_columns:
                found = f"{len(fields)} fields in {shown(' '.join(fields))}"
                raise line_error(self.path, number, found, f"{n_columns} as in the header")


def _find_delimiter(path: Path, head: Sequence[str]) -> str:
    """The delimiter by which the first rows have the most fields, and all as many."""
    suffix = Path(path.stem).suffix if packing_of(path) else path.suffix
    usual = "\t" if suffix in TAB_SUFFIXES else ","
    order = sorted(DELIMITERS, key=lambda delimiter: delimiter != usual)
    first = next((line for line in head if line.strip("\n")), "")
    counts = {delimiter: n_fields(head, delimiter) for delimiter in order}
    spaces = counts.pop(" ")  # also between the words of a text
    if max(counts.values()) > 1:
        return max(counts, key=lambda delimiter: counts[delimiter])
    if spaces > 1:
        return " "
    best = max(counts, key=first.count)
    return best if best in first else usual


def n_fields(head: Sequence[str], delimiter: str) -> int:
    """Number of fields of each of a file's first lines; 0 where they differ.

    Args:
        head: The lines.
        delimiter: What separates fields.
    """
    lines = (line.replace(delimiter, STAND_IN) for line in head)
    try:
        rows = [row for row in csv.reader(lines, delimiter=STAND_IN) if row]
    except csv.Error:
        return 0
    # The sample may end inside a quoted field.
    lengths = {len(row) for row in rows[: -1 if len(head) == SAMPLE and len(rows) > 1 else None]}
    return lengths.pop() if len(lengths) == 1 else 0

"""Tables of JSON lines and Parquet, with the columns and the errors of tables of text."""

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json
import pyarrow.parquet

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.convert.reading import line_error, shown
from recbole_diffusion.convert.sources import (
    SAMPLE,
    head_lines,
    look_through,
    source_refusals,
)
from recbole_diffusion.convert.tables import BLOCK, TableOptions, TextTable

PARQUET_MARK = b"PAR1"
TYPE_OF = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


class ParquetTable:
    """A Parquet file; attributes are those of ``TextTable``.

    Args:
        path: The file.

    Raises:
        UserError: It cannot be read.
    """

    has_header = True
    title = "a Parquet table"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        with source_refusals(path):
            self.file = pyarrow.parquet.ParquetFile(path)
            schema = self.file.schema_arrow
        self.columns = list(schema.names)
        self.nested = [field.name for field in schema if pa.types.is_nested(field.type)]

    def head(self, column: str) -> pa.ChunkedArray:
        """First values of a column, of the type that it is stored in."""
        batches = self.file.iter_batches(SAMPLE, columns=[column])
        values = next((batch.column(0) for batch in batches), pa.array([], pa.string()))
        return pa.chunked_array([values])

    def read(self, kinds: Mapping[str, str]) -> pa.Table:
        """Reads columns, of the types that they are stored in."""
        with source_refusals(self.path):
            return self.file.read(columns=list(kinds))

    def error(self, row: int, found: str, expected: str) -> UserError:
        """The error for a row, counted from 0."""
        return UserError(f"{self.path}, row {row}: found {found}, expected {expected}.")


class JsonTable:
    """A file of one JSON object a line; attributes are those of ``TextTable``.

    Args:
        path: The file, plain or packed.
        encoding: Such as ``utf-8``.

    Raises:
        UserError: It cannot be read, is empty, or a first line is no object.
    """

    has_header = True
    title = "JSON lines"

    def __init__(self, path: Path, encoding: str | None = None) -> None:
        self.path = path
        self.text = look_through(path, encoding)
        self.notes = list(self.text.notes)
        self.records = [record for _, record in itertools.islice(self._objects(), SAMPLE)]
        self.columns = list(dict.fromkeys(name for record in self.records for name in record))
        values = ((name, value) for record in self.records for name, value in record.items())
        self.nested = list(
            dict.fromkeys(c for c, value in values if isinstance(value, list | dict))
        )
        if not self.columns:
            raise UserError(f"{path}: found no object with fields, expected at least one.")

    def head(self, column: str) -> pa.ChunkedArray:
        """First values of a field, as texts; null where it is missing."""
        values = (record.get(column) for record in self.records)
        texts = [None if value is None else str(value) for value in values]
        return pa.chunked_array([texts], pa.string())

    def read(self, kinds: Mapping[str, str]) -> pa.Table:
        """Reads fields of the types that they have in the first lines; null where one is missing.

        Raises:
            UserError: A line is no object, or a field has another type than in the first ones.
        """
        schema = pa.schema([(name, self._type(name)) for name in kinds])
        with source_refusals(self.path):
            try:
                return pyarrow.json.read_json(
                    self.text.stream(),
                    pyarrow.json.ReadOptions(use_threads=False, block_size=BLOCK),
                    pyarrow.json.ParseOptions(schema, unexpected_field_behavior="ignore"),
                )
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                return self._slow(schema)

    def _type(self, name: str) -> pa.DataType:
        values = (record.get(name) for record in self.records)
        found = [type(value) for value in values if value is not None]
        first = found[0] if found else type(None)
        is_float = first in (int, float) and float in found
        return TYPE_OF.get(float if is_float else first, pa.null())

    def _slow(self, schema: pa.Schema) -> pa.Table:
        """Object by object, as PyArrow takes fewer forms and does not name a line."""
        columns: dict[str, list[Any]] = {name: [] for name in schema.names}
        for number, record in self._objects():
            for name, values in columns.items():
                value, kind = record.get(name), schema.field(name).type
                try:
                    pa.scalar(value, kind)
                    fits = value is None or TYPE_OF.get(type(value)) in (
                        (kind, pa.int64()) if kind == pa.float64() else (kind,)
                    )
                except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeError):
                    fits = False
                if not fits:
                    expected = "a text or number" if kind == pa.null() else f"a {kind}"
                    raise line_error(self.path, number, f"{name} {shown(str(value))}", expected)
                values.append(float(value) if kind == pa.float64() and value is not None else value)
        return pa.table(columns, schema)

    def _objects(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, line in enumerate(self.text.lines(), start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                record = None
            if not isinstance(record, dict):
                expected = "one object with fields"
                if line.startswith("["):
                    expected += " a line, as pandas writes by to_json(orient='records', lines=True)"
                raise line_error(self.path, number, shown(line.rstrip("\n")), expected)
            yield number, record

    def error(self, row: int, found: str, expected: str) -> UserError:
        """The error for a row, counted from 0, that names its line."""
        number, _ = next(itertools.islice(self._objects(), row, None))
        return line_error(self.path, number, found, expected)


def is_parquet(path: Path) -> bool:
    """Whether a file starts as Parquet does."""
    with source_refusals(path), path.open("rb") as file:
        return file.read(4) == PARQUET_MARK


def open_table(path: Path, options: TableOptions) -> TextTable | JsonTable | ParquetTable:
    """Opens a table of text, JSON lines or Parquet, told apart by its first bytes.

    Args:
        path: The file.
        options: How it is stored.

    Raises:
        UserError: It cannot be read.
    """
    if is_parquet(path):
        return ParquetTable(path)
    head = head_lines(path, options.encoding)
    if head[0].startswith(("{", "[{")):
        return JsonTable(path, options.encoding)
    return TextTable(path, options)

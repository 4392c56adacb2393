"""Tables that the commands read and write, a block of rows at a time."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from recbole_diffusion.base.errors import UserError, expect, refusals_of
from recbole_diffusion.pages.tables import csv_cell

READ, WRITTEN = (".csv", ".tsv", ".parquet", ".jsonl"), (".parquet", ".csv", ".jsonl")
# Rows of a block that is read.
BLOCK = 2**16
OTHER_BLOCK = "rows: other columns or types than in the first block"
# Digits behind the point in a .jsonl, the most that pandas writes.
DIGITS = 15
UNREADABLE = (OSError, ValueError, TypeError, AttributeError, KeyError, pa.ArrowException)


def new_file(out: str | Path) -> Path:
    """The whole path of a file to write.

    Raises:
        UserError: It is there already, has no folder, or is of no form that is written.
    """
    path = Path(out).resolve()
    expect(path.suffix in WRITTEN, "out", str(out), f"a file that ends in {', '.join(WRITTEN)}")
    if path.exists():
        raise UserError(f"key `out`: {path} is there already; expected a new name")
    if not path.parent.is_dir():
        raise UserError(f"key `out`: no folder {path.parent}")
    return path


def expect_file(path: Path, key: str) -> None:
    """See that a key names a file.

    Raises:
        UserError: There is none.
    """
    if not path.is_file():
        raise UserError(f"key `{key}`: found {str(path)!r}, expected a file that is there")


def read_blocks(path: Path, key: str) -> Iterator[pa.Table]:
    """Rows of a file with columns user and item, which are texts, as are all of a .csv or .tsv.

    Args:
        path: .csv, .tsv, .parquet, or .jsonl with an object a line.
        key: That names the file.

    Raises:
        UserError: It cannot be read, has no such columns, or a row without an id.
    """
    expect(path.suffix in READ, key, str(path), "a .csv, .tsv, .parquet or .jsonl")
    expect_file(path, key)
    with refusals_of(f"{path}: not a table", *UNREADABLE):
        for block in _blocks(path):
            missing = [name for name in ("user", "item") if name not in block.column_names]
            if missing:
                found = ", ".join(block.column_names)
                raise UserError(f"{path}: found the columns {found}, expected user and item")
            for name in ("user", "item"):
                if block.column(name).null_count:
                    raise UserError(f"{path}: found a row without {name}, expected ids")
                place = block.column_names.index(name)
                block = block.set_column(place, name, block.column(name).cast(pa.string()))
            yield block


def _blocks(path: Path) -> Iterator[pa.Table]:
    if path.suffix == ".parquet":
        with pq.ParquetFile(path) as file:
            empty = file.schema_arrow.empty_table()
            yield from (pa.Table.from_batches([batch]) for batch in file.iter_batches(BLOCK))
    elif path.suffix == ".jsonl":
        with path.open(encoding="utf-8-sig") as lines:
            rows = (json.loads(line) for line in lines if line.strip())
            while block := list(islice(rows, BLOCK)):
                names = dict.fromkeys(name for row in block for name in row.keys())
                yield pa.table({name: [row.get(name) for row in block] for name in names})
        return
    else:
        separator = "\t" if path.suffix == ".tsv" else ","
        parsing = arrow_csv.ParseOptions(delimiter=separator, newlines_in_values=True)
        with arrow_csv.open_csv(path, parse_options=parsing) as stream:
            names = stream.schema.names
        texts = arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
        with arrow_csv.open_csv(path, parse_options=parsing, convert_options=texts) as stream:
            empty = stream.schema.empty_table()
            yield from (pa.Table.from_batches([batch]) for batch in stream)
    yield empty  # tells the columns where there are no rows


def write_blocks(blocks: Iterable[pa.Table], suffix: str, stream: BinaryIO) -> None:
    """Write tables with the same columns, one behind the other, in a form of ``WRITTEN``.

    A cell of a .csv that a spreadsheet would run as a formula has an apostrophe before it.

    Raises:
        UserError: Tables with other columns than the first, for a .csv, or other types, for a
            .parquet.
    """
    writer: Any = None
    names: list[str] | None = None
    for table in blocks:
        is_first, names = names is None, names or table.column_names
        if suffix == ".parquet":
            writer = writer or pq.ParquetWriter(stream, table.schema)
            with refusals_of(OTHER_BLOCK, *UNREADABLE):
                writer.write_table(table)
        elif suffix == ".csv":
            if table.column_names != names:
                raise UserError(f"{OTHER_BLOCK}: found {', '.join(table.column_names)}")
            safe = _whole_numbers_as_texts(table).to_pandas().map(csv_cell)
            text = safe.to_csv(index=False, header=is_first, lineterminator="\n")
            stream.write(text.encode())
        else:
            frame = table.to_pandas(integer_object_nulls=True)  # beside missing ones, else floats
            text = frame.to_json(
                orient="records",
                lines=True,
                force_ascii=False,
                double_precision=DIGITS,
                date_format="iso",
            )
            stream.write(text.encode() if len(frame) else b"")
    if writer is not None:
        writer.close()


def _whole_numbers_as_texts(table: pa.Table) -> pa.Table:
    """The same, since pandas would make floats of whole numbers beside missing ones."""
    fields = [
        field.with_type(pa.string()) if pa.types.is_integer(field.type) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields))

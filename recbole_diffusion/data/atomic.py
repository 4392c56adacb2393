"""Reading one atomic file: every text as it stands, every row as long as the header."""

import codecs
import csv
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.data.columns import data_files, read_header, text_encoding
from recbole_diffusion.data.numbers import is_number

# An empty field alone is missing; `NA`, `None` and quotation marks are texts like any other.
AS_IT_STANDS: dict[str, Any] = {
    "engine": "c",
    "quoting": csv.QUOTE_NONE,
    "keep_default_na": False,
    "na_values": [""],
}
# Bytes of a file that PyArrow parses at a time; a line may not be longer. Large ones take memory.
BLOCK, LARGE_BLOCK = 2**23, 2**26


def read_atomic_file(
    path: str | Path,
    columns: Sequence[str],
    delimiter: str,
    encoding: str,
    numbers: Sequence[str] = (),
) -> pd.DataFrame:
    """Read columns of a file without pandas' guesses about texts.

    Args:
        path: The file.
        columns: Those to read, as in the header.
        delimiter: The key ``field_separator``.
        encoding: How the file is decoded.
        numbers: Columns that hold float64; the others are texts.

    Returns:
        Texts unchanged; NaN where a field is empty, an empty text where a sequence is.

    Raises:
        UserError: A row with more or fewer fields than the header, or what is no finite number in
            a column of numbers.
    """
    content = _content(path, encoding)
    try:
        if delimiter not in content.partition(b"\n")[0].decode():
            raise pa.ArrowInvalid("a line of blanks may be a row")
        read = _parsed(content, columns, numbers, delimiter, BLOCK)
        is_sound = all(pc.all(pc.is_finite(read[c])).as_py() in (True, None) for c in numbers)
    except pa.ArrowInvalid:
        is_sound = False
    if not is_sound:
        content = _rows(path, delimiter, encoding)
        for column in numbers:
            refuse_other_than_numbers(path, column, delimiter, encoding)
        # PyArrow takes no blank lines, and no number with blanks or a plus sign.
        read = _parsed(content, columns, (), delimiter, LARGE_BLOCK)
    table = read.to_pandas()
    del content, read
    return_memory()  # of the parser
    for column in numbers:
        if table[column].dtype != np.float64:
            table[column] = pd.to_numeric(table[column].str.strip()).astype(np.float64)
    for column in table.columns[table.columns.str.endswith("_seq")]:
        table[column] = table[column].fillna("")
    return table


def return_memory() -> None:
    """Give the system what reading a file took and no longer holds."""
    pa.default_memory_pool().release_unused()


def _content(path: str | Path, encoding: str) -> bytes:
    """A file in UTF-8, its lines ended by line feeds."""
    content = Path(path).read_bytes()
    text = content.decode(encoding)  # which refuses other bytes
    is_utf8 = encoding == "utf-8-sig"
    content = content.removeprefix(codecs.BOM_UTF8) if is_utf8 else text.encode()
    del text
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in content else content


def _parsed(
    content: bytes,
    columns: Sequence[str],
    numbers: Sequence[str],
    delimiter: str,
    block: int,
) -> pa.Table:
    """Columns of a text; PyArrow refuses a row that is not as long as the header."""
    return pyarrow.csv.read_csv(
        pa.py_buffer(content),
        pyarrow.csv.ReadOptions(block_size=block),
        pyarrow.csv.ParseOptions(delimiter=delimiter, quote_char=False, double_quote=False),
        pyarrow.csv.ConvertOptions(
            check_utf8=False,
            column_types={c: pa.float64() if c in numbers else pa.string() for c in columns},
            null_values=[""],
            strings_can_be_null=True,
            include_columns=list(columns),
        ),
    )


def interacted_items(config: Any) -> np.ndarray:
    """Original ids of the items that stand in interactions, sorted; before any filter.

    Args:
        config: Settings of the run.
    """
    column = f"{config['ITEM_ID_FIELD']}:token"
    separator, encoding = config["field_separator"], text_encoding(config["encoding"])
    paths = [path for path in data_files(config) if path.suffix == ".inter"]
    files = [read_atomic_file(path, [column], separator, encoding) for path in paths]
    return np.unique(np.concatenate([rows[column].dropna().to_numpy(str) for rows in files]))


def item_file(config: Any) -> Path:
    """Where the ``.item`` file is, if there is one."""
    return Path(config["data_path"]) / f"{config['dataset']}.item"


def item_columns(config: Any) -> dict[str, str]:
    """Type of each column of the ``.item`` file beside the ids; none without a file.

    Args:
        config: As ``read_item_texts`` takes it.
    """
    path = item_file(config)
    if not path.is_file():
        return {}
    header = read_header(path, text_encoding(config["encoding"]), config["field_separator"])
    return {name: kind for name, kind in header.items() if name != config["ITEM_ID_FIELD"]}


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
        UserError: File or column missing, a column of another type or that of the ids, or a
            malformed row.
    """
    path = item_file(config)
    separator, encoding = config["field_separator"], text_encoding(config["encoding"])
    if not path.is_file():
        raise UserError(f"{path}: no such file, expected it for its columns {', '.join(fields)}")
    header = read_header(path, encoding, separator)
    columns = {field: f"{field}:{kind}" for field, kind in header.items()}
    wanted = [config["ITEM_ID_FIELD"], *fields]
    if wanted[0] in fields:
        raise UserError(f"{path}: found {wanted[0]}, the column of the ids, expected another one")
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
    table = read_atomic_file(path, named, separator, encoding)
    return path, table[named].fillna("").set_axis(wanted, axis=1)


def _rows(path: str | Path, separator: str, encoding: str) -> bytes:
    """The header and the rows in UTF-8, without blank lines.

    Raises:
        UserError: The first row whose number of fields is not the header's.
    """
    kept: list[str] = []
    for number, line in _numbered_rows(path, separator, encoding):
        kept.append(line if line.endswith("\n") else f"{line}\n")
        n_fields, n_expected = line.count(separator) + 1, kept[0].count(separator) + 1
        if n_fields != n_expected:
            raise UserError(
                f"{path}, line {number}: found {n_fields} fields, expected {n_expected} as in the "
                f"header (key field_separator: {separator!r}, which no text may hold)"
            )
    return "".join(kept).encode()


def _numbered_rows(path: str | Path, separator: str, encoding: str) -> Iterator[tuple[int, str]]:
    """The header and each row, with its line counted from 1."""
    blanks = " \t\n".replace(separator, "")
    with open(path, encoding=encoding) as lines:
        yield 1, next(lines, "")
        for number, line in enumerate(lines, start=2):
            if line.strip(blanks) or line.count(separator):
                yield number, line


def refuse_other_than_numbers(
    path: str | Path,
    column: str,
    delimiter: str,
    encoding: str,
    seq_separator: str | None = None,
) -> None:
    """Find what is no finite number, of which neither pandas nor RecBole tells the place.

    Args:
        path: An atomic file.
        column: Its column, as in the header.
        delimiter: The key ``field_separator``.
        encoding: How the file is decoded.
        seq_separator: What separates the numbers of a sequence; None for single numbers.

    Raises:
        UserError: There is such a text; the message names the first one and its line.
    """
    options: dict[str, Any] = {"delimiter": delimiter, "encoding": encoding, **AS_IT_STANDS}
    texts = pd.read_csv(path, usecols=[column], dtype=str, **options)[column].fillna("")
    parts = texts.str.split(seq_separator, regex=False) if seq_separator else texts.map(_alone)
    is_bad = ~parts.map(lambda row: all(map(is_number, filter(None, row)))).to_numpy(bool)
    if is_bad.any():
        row = int(is_bad.argmax())
        bad = next(part for part in parts[row] if part and not is_number(part))
        numbers = (number for number, _ in _numbered_rows(path, delimiter, encoding))
        line = next(itertools.islice(numbers, row + 1, None))
        rows = "row" if is_bad.sum() == 1 else "rows"
        raise UserError(
            f"{path}, line {line}: column {column}: found {bad!r:.200} ({is_bad.sum()} such "
            f"{rows}), expected a finite number, or nothing where it is missing"
        )


def _alone(text: str) -> list[str]:
    return [text]

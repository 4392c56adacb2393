"""Interactions in columns, and what is written of them: those without a split of their own."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.convert.reading import shown
from recbole_diffusion.convert.selection import Selection
from recbole_diffusion.convert.values import Source
from recbole_diffusion.convert.writing import (
    Content,
    check_name,
    check_stale,
    check_targets,
    declared,
    property_lines,
    write_files,
)

ROWS = 2**20  # lines that are made at a time
EVERYTHING = Selection()
TAB, NOTHING, END = (pa.scalar(text, pa.large_string()) for text in ("\t", "", "\n"))


@dataclass(frozen=True)
class Table:
    """Rows of an ``.item`` or ``.user`` file.

    Attributes:
        path: The source.
        columns: Texts [n] by ``field:type``, the ids first.
    """

    path: Path
    columns: Mapping[str, pa.ChunkedArray]

    @property
    def types(self) -> dict[str, str]:
        """Type of each field beside the ids."""
        return dict(column.split(":") for column in list(self.columns)[1:])


@dataclass(frozen=True)
class Interactions:
    """Interactions in the order of their source.

    Attributes:
        path: The source.
        users: User of each row [n].
        items: Item of each row [n].
        numbers: ``rating`` and ``timestamp`` [n], those there are, in this order.
        item_table: What is known of items.
        user_table: What is known of users.
        counts: What else the report says.
        notes: Likewise, in words.
    """

    path: Path
    users: pa.DictionaryArray
    items: pa.DictionaryArray
    numbers: Mapping[str, np.ndarray] = field(default_factory=dict)
    item_table: Table | None = None
    user_table: Table | None = None
    counts: Counter[str] = field(default_factory=Counter)
    notes: Sequence[str] = ()

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.users)

    def take(self, rows: np.ndarray) -> "Interactions":
        """Some of the rows, by mask or number; of the ids, those that have one."""
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        users, items = (ids.take(pa.array(rows)) for ids in (self.users, self.items))
        numbers = {name: values[rows] for name, values in self.numbers.items()}
        tables = (self.item_table, self.user_table, self.counts, self.notes)
        return Interactions(self.path, users, items, numbers, *tables)

    def keys(self) -> np.ndarray:
        """A number for each row [n], equal where user and item are, int64."""
        users, items = (ids.indices.to_numpy().astype(np.int64) for ids in (self.users, self.items))
        return (users << 32) | items

    def write(self, stream: BinaryIO) -> None:
        """Writes header and lines of an ``.inter`` file."""
        columns = {"user_id:token": self.users, "item_id:token": self.items}
        numbers = {f"{name}:float": pa.array(values) for name, values in self.numbers.items()}
        write_lines(stream, columns | numbers)


def write_lines(stream: BinaryIO, columns: Mapping[str, pa.Array | pa.ChunkedArray]) -> None:
    """Writes columns, separated by tabs, behind a header.

    Args:
        stream: Where to.
        columns: Texts, ids or numbers [n] by ``field:type``; no text holds a tab or line break.
    """
    stream.write(("\t".join(columns) + "\n").encode())
    n_rows = len(next(iter(columns.values())))
    for start in range(0, n_rows, ROWS):
        texts = [_texts(column.slice(start, ROWS)) for column in columns.values()]
        lines = pc.binary_join_element_wise(*texts, TAB)
        lines = pc.binary_join_element_wise(lines, NOTHING, END)
        for chunk in lines.chunks if isinstance(lines, pa.ChunkedArray) else [lines]:
            offsets = np.frombuffer(chunk.buffers()[1], np.int64)
            begin, end = offsets[chunk.offset], offsets[chunk.offset + len(chunk)]
            stream.write(memoryview(chunk.buffers()[2])[begin:end])


def _texts(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        return column.dictionary.cast(pa.large_string()).take(column.indices)
    return column.cast(pa.large_string())


def is_repeated(keys: np.ndarray) -> np.ndarray:
    """Whether each number [n] stood before."""
    return pd.Series(keys).duplicated().to_numpy()


def distinct(ids: pa.DictionaryArray) -> pa.Array:
    """The ids that occur, in the order of their first rows."""
    return ids.dictionary.take(pc.unique(ids.indices))


@dataclass(frozen=True)
class InteractionsReport:
    """What a conversion wrote.

    Attributes:
        users: Number of distinct users.
        items: Number of distinct items.
        interactions: Rows written.
        repeated: Rows left out because an earlier one has their user and item.
        counts: Other counts, by what they count.
        notes: What else there is to tell.
        kept: A property file that was there, and was left as it was.
    """

    users: int
    items: int
    interactions: int
    repeated: int
    counts: dict[str, int]
    notes: tuple[str, ...] = ()
    kept: Path | None = None


def convert_interactions(
    log: Interactions,
    output: Path,
    name: str,
    overwrite: bool = False,
    is_own: bool = False,
    selection: Selection = EVERYTHING,
) -> InteractionsReport:
    """Writes interactions as ``<output>/<name>/<name>.inter``, and ``.item`` and ``.user`` beside.

    Of rows with the same user and item the first is kept. All is written to temporary files first:
    nothing appears under these names before all has been checked. The property file
    ``<name>.yaml`` declares what was written.

    Args:
        log: The interactions.
        output: Folder of data sets; created if missing.
        name: Name of the data set.
        overwrite: Whether existing files may be replaced; a property file never is.
        is_own: Whether the data are of the user's own, not a release that a shipped property file
            of the name describes.
        selection: Of rows and ids.

    Returns:
        The counts of what was written and left out.

    Raises:
        UserError: The name is no file name, one of RecBole's data sets or that of a shipped one
            whose split is given, there is no interaction or none is left, a table is of other
            ids, or an output file exists.
    """
    check_name(name, output)
    folder = output / name
    inter, yaml = folder / f"{name}.inter", folder / f"{name}.yaml"
    targets = folder / f"{name}.item", folder / f"{name}.user"
    check_targets([inter, *targets, *([yaml] if is_own else [])], overwrite)
    if not len(log):
        raise UserError(f"{log.path}: found no interaction, expected at least one.")
    chosen = selection.rows(log)
    distinct_pairs = chosen.take(~is_repeated(chosen.keys()))
    kept = selection.anonymous(selection.core(distinct_pairs))
    if not len(kept):
        raise UserError(f"{log.path}: no interaction is left of {len(log)} by these options.")
    counts = Counter(log.counts)
    contents: dict[Path, Content] = {inter: kept.write}
    tables = (kept.item_table, kept.items), (kept.user_table, kept.users)
    for target, (table, ids) in zip(targets, tables, strict=True):
        if table is None:
            check_stale(target, f"no table of {target.suffix[1:]}s is converted")
        else:
            contents[target] = _checked(table, ids, counts)
    item_types = log.item_table.types if log.item_table else {}
    user_types = log.user_table.types if log.user_table else {}
    texts = [name for name, kind in item_types.items() if kind == "token_seq"]
    lines = property_lines(
        log.path.name,
        {"inter": list(log.numbers), "item": list(item_types), "user": list(user_types)},
        {"text": {"fields": texts}} if texts else {},
    )
    properties, notes = declared(yaml, lines, contents, is_own=is_own)
    contents |= properties
    write_files(contents)
    return InteractionsReport(
        users=len(pc.unique(kept.users.indices)),
        items=len(pc.unique(kept.items.indices)),
        interactions=len(kept),
        repeated=len(chosen) - len(distinct_pairs),
        counts=dict(counts),
        notes=(*log.notes, *notes),
        kept=None if properties or not yaml.exists() else yaml,
    )


def _checked(
    table: Table, ids: pa.DictionaryArray, counts: Counter[str]
) -> Callable[[BinaryIO], None]:
    """What writes a table that has some of the interactions' ids; counts those it lacks."""
    what = next(iter(table.columns)).split("_id:")[0]
    wanted = distinct(ids)
    n_known = pc.sum(pc.is_in(wanted, next(iter(table.columns.values())).cast(wanted.type)))
    if not n_known.as_py():
        raise UserError(
            f"{table.path}: found no {what} of the interactions, whose {what}s look like "
            f"{', '.join(map(repr, wanted[:3].to_pylist()))}, expected at least one."
        )
    lacking = f"{what}s of the interactions that {table.path.name} lacks"
    counts[lacking] = len(wanted) - n_known.as_py()
    return lambda stream: write_lines(stream, table.columns)


def distinct_rows(source: Source, ids: pa.DictionaryArray, keep_first: bool = False) -> np.ndarray:
    """Numbers of the rows of a table to keep.

    Args:
        source: Where they come from.
        ids: Their ids [n].
        keep_first: Whether the first row of an id is kept, and the others left out.

    Raises:
        UserError: An id stands again and ``keep_first`` is off; its row is named.
    """
    again = is_repeated(ids.indices.to_numpy())
    if again.any() and not keep_first:
        row = int(again.argmax())
        raise source.error(row, f"the id {shown(ids[row].as_py())} again", "one row per id")
    return np.flatnonzero(~again)


def format_report(report: InteractionsReport) -> str:
    """Formats a report, one count a line."""
    lines = [
        f"{report.users} users, {report.items} items, {report.interactions} interactions",
        f"left out, their pair repeated: {report.repeated}",
        *(f"{what}: {count}" for what, count in report.counts.items()),
        *report.notes,
    ]
    if report.kept is not None:
        lines.append(f"left as it was: {report.kept}; delete it to have it written anew")
    return "\n".join(lines) + "\n"

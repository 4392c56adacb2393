"""Interactions in columns, and tables of what is known of users and items."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recbole_diffusion.convert.reading import shown
from recbole_diffusion.convert.values import Source

ROWS = 2**20  # lines that are made at a time
TAB, NOTHING, END = (pa.scalar(text, pa.large_string()) for text in ("\t", "", "\n"))


@dataclass(frozen=True)
class Table:
    """Rows of an ``.item`` or ``.user`` file.

    Attributes:
        path: The source.
        columns: Texts [n] by ``field:type``, the ids first.
        numbers: Fields of texts that are numbers, such as prices, which make no text feature.
    """

    path: Path
    columns: Mapping[str, pa.ChunkedArray]
    numbers: Sequence[str] = ()

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


def is_chosen(log: Interactions, keep: str) -> np.ndarray:
    """Whether each row [n] is the one that is kept of those with its user and item.

    Args:
        log: The interactions.
        keep: ``first`` or ``last``, by time; without times, and of equal ones, by row.
    """
    keys, times = log.keys(), log.numbers.get("timestamp")
    if times is None or (times[1:] >= times[:-1]).all():
        return ~pd.Series(keys).duplicated(keep).to_numpy()
    order = np.argsort(times, kind="stable")
    is_kept = np.empty(len(keys), bool)
    is_kept[order] = ~pd.Series(keys[order]).duplicated(keep).to_numpy()
    return is_kept


def distinct(ids: pa.DictionaryArray) -> pa.Array:
    """The ids that occur, in the order of their first rows."""
    return ids.dictionary.take(pc.unique(ids.indices))


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

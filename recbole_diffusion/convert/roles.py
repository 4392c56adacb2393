"""Which of several tables holds the interactions, and which one the items."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.convert.columns import (
    KNOWN,
    USUAL,
    columns_of_times,
    listed,
    plain_name,
    role_name,
)
from recbole_diffusion.convert.records import is_parquet, open_table
from recbole_diffusion.convert.sources import head_lines
from recbole_diffusion.convert.user_columns import CsvOptions, find_columns


def tables_of(
    files: Sequence[Path], options: CsvOptions, needs_all: bool
) -> tuple[Path, Path | None, list[Path]]:
    """Tells tables apart by their columns: those that are named, else those of known names.

    Args:
        files: The tables.
        options: Columns that are named, and the table of items if it is.
        needs_all: Whether each file must be one of the two.

    Returns:
        The interactions, the items if there is such a table, and the other files.

    Raises:
        UserError: None or several of the files fit.
    """
    columns = {path: _columns(path, options) for path in files if path != options.items}
    with_users = [path for path in columns if _has(columns[path], "user", options.user)]
    usual = [path for path in with_users if _has_usual(columns[path], "user")]
    if options.user is None and usual:
        with_users = usual
    logs = [path for path in with_users if _has(columns[path], "item", options.item)]
    if not logs and options.user is not None:
        logs = with_users
    keys = [path for path in columns if path not in with_users and _has_key(columns[path], options)]
    bare = [path for path in columns if not columns[path] and path not in logs]
    if needs_all and not keys and len(logs) == len(bare) == 1:
        keys = bare  # without a header; its first column has to hold items
    items = keys if options.items is None else [*keys, options.items]
    others = [path for path in columns if path not in (*logs, *items)]
    if len(logs) != 1 or len(items) > 1 or (others and needs_all):
        raise _undecided(columns, logs or with_users, keys, options)
    return logs[0], items[0] if items else None, others


def is_of_amazon(path: Path, options: CsvOptions) -> bool:
    """Whether a file holds products of Amazon, one object a line."""
    is_object = not is_parquet(path) and head_lines(path)[0].startswith("{")
    return is_object and not {"asin", "parent_asin"}.isdisjoint(_columns(path, options))


def _columns(path: Path, options: CsvOptions) -> list[str]:
    """Names of a table's columns; without a header, what they are by their values, if so told."""
    if not is_parquet(path) and head_lines(path)[0].startswith("{'"):
        return ["asin"]  # a product as Python prints it
    table: Any = open_table(path, options.table)
    if table.has_header or options.table.columns is not None:
        return list(table.columns)
    try:
        return list(find_columns(table, CsvOptions()))
    except UserError:
        return []


def _has(columns: Sequence[str], what: str, named: str | None) -> bool:
    if named is not None:
        return named in columns
    return not set(map(role_name, columns)).isdisjoint(KNOWN[what])


def _has_usual(columns: Sequence[str], what: str) -> bool:
    return not set(map(plain_name, columns)).isdisjoint(USUAL[what])


def _has_key(columns: Sequence[str], options: CsvOptions) -> bool:
    """Whether there is a column of items, under their name in the interactions or another."""
    if options.item_key is not None:
        return options.item_key in columns
    return options.item in columns or _has(columns, "item", None)


def _undecided(
    columns: Mapping[Path, Sequence[str]],
    logs: Sequence[Path],
    keys: Sequence[Path],
    options: CsvOptions,
) -> UserError:
    """The refusal, with the columns of each file and a command that names them."""
    found = [f"{p.name} ({listed(names) or 'no header'})" for p, names in columns.items()]
    named = [
        f" (--{what}={name})" if (name := getattr(options, what)) is not None else ""
        for what in ("user", "item")
    ]
    log = [*logs, *(path for path in columns if path not in keys), *columns][0]
    rest = [path for path in (*keys, *columns) if path not in (log, *logs)]
    items = options.items or (rest[0] if rest else None)
    words = ["convert", str(log)]
    words += [] if items is None else [f"--items={items}"]
    if columns[log]:
        words += _named(columns[log], "user", options.user)
        words += _named(columns[log], "item", options.item)
        words += _named_times(log, columns[log], options)
    else:
        words.append("--columns=user,item,...")
    if items is not None and items in columns and not _has_key(columns[items], options):
        words.append("--item-key=COLUMN")
    words.append("--name=NAME")
    return UserError(
        f"{next(iter(columns)).parent}: found {'; '.join(found)}, expected one file with a column "
        f"of users{named[0]} and one of items{named[1]}, and at most one more with a column of "
        f"items; name files and columns, such as: {' '.join(map(shlex.quote, words))}"
    )


def _named(columns: Sequence[str], what: str, named: str | None) -> list[str]:
    """The option for a column, unless it is known without."""
    if named is not None and named in columns:
        return [f"--{what}={named}"]
    return [] if _has(columns, what, None) else [f"--{what}=COLUMN"]


def _named_times(log: Path, columns: Sequence[str], options: CsvOptions) -> list[str]:
    """Likewise for the times, by the one column that looks like them if there is one."""
    if options.timestamp not in columns and _has(columns, "timestamp", None):
        return []
    table: Any = open_table(log, options.table)
    found = [column for column in columns if column == options.timestamp]
    found = found or columns_of_times(table, [name for name in columns if name in table.columns])
    return [f"--timestamp={found[0] if len(found) == 1 else 'COLUMN'}"] if found else []

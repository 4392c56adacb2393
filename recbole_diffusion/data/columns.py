"""Which columns of its atomic files a run reads, and whether the headers there are sound."""

import codecs
from collections.abc import Iterator
from logging import getLogger
from pathlib import Path
from typing import Any

from recbole.utils import FeatureType

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.files import is_file_or_absent
from recbole_diffusion.data.fields import (
    check_distinct,
    check_fields,
    check_suffixes,
    check_unloaded,
)
from recbole_diffusion.settings.recency import is_ordered_by_time

TYPES = [kind.value for kind in FeatureType]
FEATURES = ("item", "user")


def text_encoding(encoding: str | None) -> str:
    """How an atomic file is decoded: a byte order mark before UTF-8 is no part of its text.

    Args:
        encoding: The key ``encoding``; None is UTF-8.
    """
    try:
        is_utf8 = encoding is None or codecs.lookup(encoding).name == "utf-8"
    except LookupError:
        is_utf8 = False  # refused where the file is read
    return "utf-8-sig" if is_utf8 else str(encoding)


def read_header(path: Path, encoding: str | None, separator: str) -> dict[str, str]:
    """Read the fields of an atomic file, and see that it has a row.

    Args:
        path: The file.
        encoding: The key ``encoding``.
        separator: The key ``field_separator``.

    Returns:
        The type of each field, in the order of the columns.

    Raises:
        UserError: The file is missing or not of this encoding, a column is not ``field:type`` with
            a type of RecBole's, a field stands twice, or there is no row.
    """
    try:
        with path.open(encoding=text_encoding(encoding)) as lines:
            head = next(lines, "").rstrip("\n")
            has_row = any(line.strip() for line in lines)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file, though key `load_col` names it") from error
    except (UnicodeError, LookupError) as error:
        name = text_encoding(encoding)
        raise UserError(f"{path}: not {name} text (key `encoding`): {error}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    header: dict[str, str] = {}
    for column in head.split(separator):
        field, colon, kind = column.partition(":")
        if not colon or kind not in TYPES:
            raise UserError(
                f"{path}, line 1: found the column {column!r}, expected field:type with a type of "
                f"{', '.join(TYPES)}, such as user_id:token (key `field_separator`: {separator!r})"
            )
        if field in header:
            raise UserError(f"{path}, line 1: found the field {field!r} twice, expected each once")
        header[field] = kind
    if not has_row:
        raise UserError(f"{path}: found a header only, expected at least one row")
    return header


def columns_of(config: Any, suffix: str, header: dict[str, str]) -> dict[str, str]:
    """The columns of a file that ``load_col`` and ``unload_col`` leave.

    Args:
        config: Settings of the run.
        suffix: Of the file, such as "inter".
        header: Type of each of its fields.
    """
    loaded = (config["load_col"] or {}).get(suffix, "*")
    unloaded = (config["unload_col"] or {}).get(suffix, ())
    return {f: k for f, k in header.items() if (loaded == "*" or f in loaded) and f not in unloaded}


def check_columns(config: Any) -> None:
    """Check the headers of all files that a run reads, and load what its other keys need.

    Columns that are needed and stand in the files are added to the key ``load_col``, which the log
    tells in one line.

    Args:
        config: Settings of the run.

    Raises:
        UserError: A file or field is missing, a header is malformed, ids are no tokens, or the keys
            ``load_col`` and ``unload_col`` contradict others.
    """
    load_col = config["load_col"]
    if load_col is not None and "inter" not in load_col:
        raise UserError(f"key `load_col`: found {load_col}, expected fields of `inter`")
    for suffix, fields in (load_col or {}).items():
        if fields is None:
            raise UserError(f"key `load_col`: found no fields of `{suffix}`, expected a list")
    check_suffixes(config)
    needed = list(_needed(config))
    _refuse_unloaded(config, needed)
    if load_col is not None:
        _load(config, needed)
    headers: dict[str, dict[str, str]] = {}
    for suffix in _suffixes(config):
        paths = _paths(config, suffix)
        found = [_check_header(config, suffix, path) for path in paths]
        _check_alike([columns_of(config, suffix, header) for header in found], paths)
        headers[suffix] = found[0]
    if config["keep_cold_items"] and config["ITEM_ID_FIELD"] not in headers.get("item", ()):
        raise UserError(
            f"key `keep_cold_items`: found true, expected the file {_paths(config, 'item')[0]} "
            f"with a column {config['ITEM_ID_FIELD']}:token"
        )
    check_unloaded(config, headers)
    read = {suffix: columns_of(config, suffix, headers[suffix]) for suffix in headers}
    check_fields(config, read)
    check_distinct(config, read)


def data_files(config: Any) -> list[Path]:
    """The files whose rows a run reads.

    Args:
        config: Settings of the run.
    """
    return [path for suffix in _suffixes(config) for path in _paths(config, suffix)]


def _header_of(config: Any, path: Path) -> dict[str, str]:
    return read_header(path, config["encoding"], config["field_separator"])


def _paths(config: Any, suffix: str) -> list[Path]:
    """The files of a suffix: one, or one for each part of given interactions."""
    folder, parts = Path(config["data_path"]), config["benchmark_filename"]
    names = [f"{part}.inter" for part in parts] if suffix == "inter" and parts else [suffix]
    return [folder / f"{config['dataset']}.{name}" for name in names]


def _suffixes(config: Any) -> list[str]:
    """Of the files that RecBole opens."""
    if config["load_col"] is not None:
        return list(config["load_col"])
    present = [suffix for suffix in FEATURES if is_file_or_absent(_paths(config, suffix)[0])]
    return ["inter", *present, *(config["additional_feat_suffix"] or ())]


def _check_alike(headers: list[dict[str, str]], paths: list[Path]) -> None:
    """The parts of given interactions have the same columns, of those that are read."""
    first = [f"{field}:{kind}" for field, kind in headers[0].items()]
    for path, header in zip(paths, headers, strict=True):
        if header != headers[0]:
            columns = [f"{field}:{kind}" for field, kind in header.items()]
            raise UserError(
                f"{path}, line 1: found the columns {', '.join(columns)}, expected "
                f"{', '.join(first)} as in {paths[0]}; keys `load_col` and `unload_col` leave "
                "others out"
            )


def _needed(config: Any) -> Iterator[tuple[str, str, str]]:
    """Key, suffix and field of each column that a setting other than ``load_col`` reads."""
    ids = {"item": "ITEM_ID_FIELD", "user": "USER_ID_FIELD"}
    for key in ids.values():
        yield key, "inter", config[key]
    for suffix, key in ids.items():
        if suffix in (config["load_col"] or ()):
            yield key, suffix, config[key]
    if config["keep_cold_items"]:
        yield "keep_cold_items", "item", config["ITEM_ID_FIELD"]
    if is_ordered_by_time(config):
        yield "eval_args", "inter", config["TIME_FIELD"]
    for suffix, fields in (config["unused_col"] or {}).items():
        if suffix in FEATURES:
            yield ids[suffix], suffix, config[ids[suffix]]
        for field in fields:
            yield "unused_col", suffix, field
    for field in config["val_interval"] or {}:
        suffix = _suffix_of(config, field)
        if suffix in FEATURES:
            yield ids[suffix], suffix, config[ids[suffix]]
        yield "val_interval", suffix, field


def _suffix_of(config: Any, field: str) -> str:
    """The file that has a field, looked for among those loaded first."""
    named = [suffix for suffix, fields in (config["load_col"] or {}).items() if field in fields]
    suffixes = ["inter", *FEATURES, *(config["additional_feat_suffix"] or ())]
    paths = {suffix: _paths(config, suffix)[0] for suffix in suffixes}
    found = [s for s, path in paths.items() if path.is_file() and field in _header_of(config, path)]
    if not named and not found:
        raise UserError(
            f"key `val_interval`: found {field!r}, expected a column of "
            f"{', '.join(str(path) for path in paths.values() if path.is_file())}"
        )
    return (named or found)[0]


def _refuse_unloaded(config: Any, needed: list[tuple[str, str, str]]) -> None:
    unloaded = config["unload_col"] or {}
    for key, suffix, field in needed:
        if field in (unloaded.get(suffix) or ()):
            raise UserError(
                f"key `unload_col`: found {field} of {suffix}, which key `{key}` needs; leave it "
                "out there (unused_col drops a column after the split)"
            )


def _load(config: Any, needed: list[tuple[str, str, str]]) -> None:
    """Add columns to ``load_col`` that stand in their files."""
    load_col = {s: f if f == "*" else list(f) for s, f in config["load_col"].items()}
    added = []
    for key, suffix, field in needed:
        fields = load_col.get(suffix, [])
        is_there = all(
            path.is_file() and field in _header_of(config, path) for path in _paths(config, suffix)
        )
        if fields != "*" and field not in fields and is_there:
            load_col[suffix] = [*fields, field]
            added.append(f"{field} of {config['dataset']}.{suffix} for `{key}`")
    if added:
        config["load_col"] = load_col
        getLogger().info(f"key `load_col`: read too: {', '.join(added)}")


def _check_header(config: Any, suffix: str, path: Path) -> dict[str, str]:
    """The header of a file, which has the fields wanted of it, its ids as tokens."""
    header = _header_of(config, path)
    ids = [config[key] for key in ("USER_ID_FIELD", "ITEM_ID_FIELD")]
    fields = set((config["load_col"] or {}).get(suffix, ()))
    if suffix == "inter":
        fields |= {*ids, *([config["TIME_FIELD"]] if is_ordered_by_time(config) else [])}
    missing = sorted(fields - {"*"} - set(header))
    if missing:
        raise UserError(
            f"{path}: fields {missing} are missing (keys USER_ID_FIELD, ITEM_ID_FIELD, "
            f"TIME_FIELD for order TO, and load_col); found {list(header)}"
        )
    for key, field in zip(("USER_ID_FIELD", "ITEM_ID_FIELD"), ids, strict=True):
        if header.get(field, "token") != "token":
            raise UserError(
                f"{path}, line 1: found {field}:{header[field]} for the ids (key `{key}`), "
                f"expected {field}:token"
            )
    return header

"""Whether the keys that name columns or files of a data set fit what is read of it."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.settings.keys import INTERVAL_FORM, is_interval

IDS = {"alias_of_user_id": "USER_ID_FIELD", "alias_of_item_id": "ITEM_ID_FIELD"}
FLOATS = ("float", "float_seq")
LISTS = ("token_seq", "float_seq")


def check_suffixes(config: Any) -> None:
    """Check ``additional_feat_suffix``: each file is there, and is read.

    Args:
        config: Settings of the run.

    Raises:
        UserError: A file is missing, is read already, or ``load_col`` names no column of it.
    """
    for suffix in config["additional_feat_suffix"] or ():
        path = Path(config["data_path"]) / f"{config['dataset']}.{suffix}"
        found = f"key `additional_feat_suffix`: found {suffix!r}"
        if suffix in ("inter", "item", "user"):
            raise UserError(f"{found}, expected others than inter, item and user, which are read")
        if not path.is_file():
            raise UserError(f"{found}, expected the file {path}")
        if config["load_col"] is not None and suffix not in config["load_col"]:
            raise UserError(
                f"{found}, of which key `load_col` names no column; expected such as "
                f'load_col: {{..., {suffix}: "*"}}, or load_col: null for all columns'
            )


def check_unloaded(config: Any, headers: Mapping[str, Mapping[str, str]]) -> None:
    """Check ``unload_col`` against the files that are read.

    Args:
        config: Settings of the run.
        headers: Of each suffix, the fields of its files and their types.

    Raises:
        UserError: A file or column is not there, or ``load_col`` names the columns of the file.
    """
    for suffix, fields in (config["unload_col"] or {}).items():
        _check_suffix("unload_col", suffix, headers)
        for field in fields:
            _kind("unload_col", field, {suffix: headers[suffix]}, config["dataset"])
        loaded = (config["load_col"] or {}).get(suffix)
        if fields and loaded not in (None, "*"):
            raise UserError(
                f"key `unload_col`: found {fields} of {suffix} beside key `load_col`, which names "
                f'all that is read of it: {loaded}; expected one of both, such as "*" or '
                "load_col: null"
            )


def check_fields(config: Any, headers: Mapping[str, Mapping[str, str]]) -> None:
    """Check the keys that name columns against the columns that are read.

    Args:
        config: Settings of the run.
        headers: Of each suffix, the fields that are read and their types.

    Raises:
        UserError: A column is not there or of another type, or two keys contradict each other.
    """
    owners: dict[str, str] = {}
    for key, field, kinds, fitting in _named(config):
        kind = _kind(key, field, fitting(headers), config["dataset"])
        if kind not in kinds:
            raise UserError(
                f"key `{key}`: found {field}:{kind}, expected a column of {' or '.join(kinds)}"
            )
        if key in IDS:
            _take(owners, config, key, field)
    negatives = config["NEG_PREFIX"] + config["ITEM_ID_FIELD"]
    if negatives in headers.get("inter", {}):
        raise UserError(
            f"key `NEG_PREFIX`: found {config['NEG_PREFIX']!r}, which makes {negatives!r} of the "
            "items' column, a column of the interactions; expected another prefix"
        )
    if config["normalize_field"] is not None and config["normalize_all"]:
        raise UserError(
            f"key `normalize_field`: found {config['normalize_field']} beside normalize_all, "
            "expected one of both"
        )
    for suffix, fields in (config["unused_col"] or {}).items():
        _check_suffix("unused_col", suffix, headers)
        for field in fields:
            _kind("unused_col", field, {suffix: headers[suffix]}, config["dataset"])
            for key in IDS.values():
                if field == config[key]:
                    raise UserError(f"key `unused_col`: found {field}, the ids (key `{key}`)")


def check_distinct(config: Any, headers: Mapping[str, Mapping[str, str]]) -> None:
    """Check that each field is read of one file; RecBole knows one type and place of each.

    Ids stand in several: those of users not in the features of items, nor the other way about.

    Args:
        config: Settings of the run.
        headers: Of each suffix, the fields that are read and their types.

    Raises:
        UserError: A field is read of two files.
    """
    aliases = [field for key in IDS for field in config[key] or ()]
    foreign = {config["USER_ID_FIELD"]: "item", config["ITEM_ID_FIELD"]: "user"}
    places: dict[str, str] = {}
    for suffix, header in headers.items():
        for field, kind in header.items():
            is_id = field in aliases or field in foreign and foreign[field] != suffix
            first = places.setdefault(field, suffix)
            if first != suffix and not is_id:
                raise UserError(
                    f"found {field}:{kind} in {config['dataset']}.{suffix}, and "
                    f"{field}:{headers[first][field]} in {config['dataset']}.{first}, expected the "
                    "field in one of them: rename it, or leave one out by key `unload_col`, such "
                    f"as {{{suffix}: [{field}]}}, or `load_col`"
                )


def _named(config: Any) -> Iterator[tuple[str, str, tuple[str, ...], Any]]:
    """Key, field, the types that it may have and the files that may hold it."""
    for key in IDS:
        for field in config[key] or ():
            yield key, field, ("token", "token_seq"), dict
    for field in config["normalize_field"] or ():
        yield "normalize_field", field, FLOATS, dict
    for field in config["seq_len"] or ():
        yield "seq_len", field, LISTS, dict
    for field, values in (config["preload_weight"] or {}).items():
        if field in (config[key] for key in IDS.values()):  # RecBole never finds vectors of these
            raise UserError(
                f"key `preload_weight`: found {field!r}, expected the ids of a further file (keys "
                "`additional_feat_suffix` and `alias_of_item_id`)"
            )
        yield "preload_weight", field, ("token",), dict
        yield "preload_weight", values, FLOATS, partial(_beside, field)


def _beside(field: str, headers: Mapping[str, Mapping[str, str]]) -> dict[str, Mapping[str, str]]:
    """The files that have a field."""
    return {suffix: header for suffix, header in headers.items() if field in header}


def _take(taken: dict[str, str], config: Any, key: str, field: str) -> None:
    """A column holds ids of users or of items."""
    others = {config[name]: name for alias, name in IDS.items() if alias != key}
    other = others.get(field) or taken.get(field, key)
    if other != key:
        raise UserError(f"key `{key}`: found {field!r}, which key `{other}` names too")
    taken[field] = key


def _check_suffix(key: str, suffix: str, headers: Mapping[str, Mapping[str, str]]) -> None:
    if suffix not in headers:
        raise UserError(f"key `{key}`: found {suffix!r}, expected one of {', '.join(headers)}")


def _kind(key: str, field: str, headers: Mapping[str, Mapping[str, str]], dataset: str) -> str:
    """The type of a column, wherever it stands."""
    for header in headers.values():
        if field in header:
            return header[field]
    files = ", ".join(f"{', '.join(header)} of {dataset}.{s}" for s, header in headers.items())
    raise UserError(f"key `{key}`: found {field!r}, expected a column that is read: {files}")


def check_interval(field: str, wanted: Any, kind: str | None) -> None:
    """Check an entry of ``val_interval`` against the column that it filters by.

    Args:
        field: Its name.
        wanted: What is to be kept of it.
        kind: Its type; None where it is not loaded.

    Raises:
        UserError: A column of lists, or values of another type than the column's.
    """
    if kind in LISTS:
        raise UserError(
            f"key `val_interval`: found {field}:{kind}, expected a column of float or token"
        )
    if kind == "float" and not is_interval(wanted):
        raise UserError(
            f"key `val_interval`: found {wanted!r} for the numbers of {field}, expected "
            f"{INTERVAL_FORM}"
        )
    if kind == "token" and not isinstance(wanted, list):
        raise UserError(
            f"key `val_interval`: found {wanted!r} for the tokens of {field}, expected a list of "
            "those to keep"
        )

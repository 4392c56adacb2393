"""What the keys of feature vectors and files of embeddings declare."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from recbole_diffusion.base.errors import UserError

# Channels that models make from the interactions.
RESERVED = ("social", "knowledge")
# Keys of files of embeddings, and the id field that each is joined by.
EMBEDDING_FILES = {
    "pretrained_user_embedding": "USER_ID_FIELD",
    "pretrained_item_embedding": "ITEM_ID_FIELD",
}
TFIDF = "tfidf"
DEFAULT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
# What makes vectors of files without a trained model.
PLAIN_ENCODERS = {"images": "pixels", "sounds": "mfcc"}
SOURCES = ("file", "field", "fields", "images", "sounds")
ENCODED = ("fields", "images", "sounds")
ONLY_WITH = {"ids": ("file",), "columns": ("file",), "encoder": ENCODED}


@dataclass(frozen=True)
class Declaration:
    """What the key ``item_features`` says of one name; docs/features.md describes the options."""

    file: str | None = None
    field: str | None = None
    fields: Sequence[str] = ()
    images: str | None = None
    sounds: str | None = None
    ids: str | None = None
    columns: Sequence[str] = ()
    encoder: str | None = None
    dtype: str = "float32"
    width: int | None = None
    missing: str = "mean"
    max_missing: float = 0.05
    scale: str = "none"


EXPECTED = {
    **dict.fromkeys(("file", "field", "images", "sounds", "ids", "encoder"), "a text"),
    **dict.fromkeys(("fields", "columns"), "a list of column names, each once"),
    "dtype": "float32 or float16",
    "width": "a whole number above 0",
    "missing": "mean, zero or error",
    "max_missing": "a number from 0 to 1",
    "scale": "none, unit or standard",
}


def feature_names(config: Any) -> list[str]:
    """Check all that the key ``item_features`` declares.

    Args:
        config: Settings, of which this reads that key alone.

    Returns:
        The names declared, in their order.

    Raises:
        UserError: A name that is taken or cannot name a module, or an option that is unknown, of
            another type, or beside one that it does not go with.
    """
    return list(declarations(config))


def declarations(config: Any) -> dict[str, Declaration]:
    """As ``feature_names``, with what is declared of each name."""
    from torch import nn  # late: it takes a second

    declared = config["item_features"] or {}
    if not isinstance(declared, Mapping):
        raise UserError(f"key `item_features`: found {declared!r}, expected name: {{file: path}}")
    for name in declared:
        is_free = name not in RESERVED and not hasattr(nn.ModuleDict(), str(name))
        if not (is_free and isinstance(name, str) and name.isidentifier()):
            raise UserError(
                f"key `item_features`: found the name {name!r}, expected one of letters, digits "
                f"and _ that is not taken (as {', '.join(RESERVED)} are)"
            )
    return {name: _declaration(name, options) for name, options in declared.items()}


def _declaration(name: str, options: Any) -> Declaration:
    key = f"key `item_features`: {name}"
    sources = [s for s in SOURCES if s in options] if isinstance(options, Mapping) else []
    if len(sources) != 1:
        raise UserError(
            f"{key}: found {options!r}, expected one of {{file: path}}, {{field: column}}, "
            "{fields: [column, ...]}, {images: column or folder} and {sounds: column or folder}"
        )
    known = [option.name for option in fields(Declaration)]
    for option, value in options.items():
        if option not in known:
            raise UserError(
                f"{key}: unknown option {option!r}, expected some of {', '.join(known)}"
            )
        if sources[0] not in ONLY_WITH.get(option, sources):
            raise UserError(
                f"{key}: found {option!r} beside {sources[0]!r}, expected it beside "
                f"{' or '.join(map(repr, ONLY_WITH[option]))} only"
            )
        if not _fits(option, value):
            raise UserError(f"{key}: {option}: found {value!r}, expected {EXPECTED[option]}")
    checked: dict[str, Any] = dict(options)
    return Declaration(**checked)


def _fits(option: str, value: Any) -> bool:
    """Whether an option has a value of its kind."""
    if option in ("fields", "columns"):
        is_list = isinstance(value, list) and value and all(isinstance(v, str) for v in value)
        return bool(is_list) and len(set(value)) == len(value)
    if option == "width":
        return type(value) is int and value > 0
    if option == "max_missing":
        return type(value) in (int, float) and 0 <= value <= 1
    choices = {
        "dtype": ("float32", "float16"),
        "missing": ("mean", "zero", "error"),
        "scale": ("none", "unit", "standard"),
    }
    return isinstance(value, str) and value != "" and value in choices.get(option, (value,))


def declared_source(config: Any, name: str) -> dict[str, Any]:
    """What of a name is encoded, and by which encoder: options of ``item_features``.

    Args:
        config: Settings.
        name: Of those declared under ``item_features``.

    Raises:
        UserError: It is not declared, or nothing of it is encoded.
    """
    declared = declarations(config).get(name)
    found = {key: given for key in ENCODED if (given := getattr(declared, key, None))}
    if declared is None or not found:
        raise UserError(
            f"key `item_features`: found {config['item_features']!r}, expected {name} there with "
            f"one of {', '.join(ENCODED)}, or what to encode by --fields, --images or --sounds"
        )
    return found | ({"encoder": declared.encoder} if declared.encoder else {})


def check_embedding_files(config: Mapping[str, Any]) -> None:
    """Check that the files of embeddings are there, before a run comes to read them.

    Args:
        config: Settings.

    Raises:
        UserError: One is not.
    """
    for key in EMBEDDING_FILES:
        path = config.get(key)
        if path is not None and not Path(path).is_file():
            raise UserError(
                f"key `{key}`: found {path!r}, expected a file ({Path(path).resolve()})"
            )

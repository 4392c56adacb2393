"""Checkpoints of tensors and plain values: written atomically, read without unpickling code."""

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from recbole_diffusion.base.errors import DamagedFile, UserError, refusals_of
from recbole_diffusion.base.files import archive_fault, written_whole

FORMAT = "recbole_diffusion checkpoint 1"
_KIND = "__kind__"


def save_checkpoint(path: str | Path, content: dict[str, Any]) -> None:
    """Write ``content`` to ``path``; an interrupted write leaves the file that was there.

    Args:
        path: Target file.
        content: Nested dicts, lists and tuples of tensors, numpy arrays, scipy sparse matrices,
            numbers, texts and None.

    Raises:
        TypeError: A value of another type, named by its place in ``content``.
    """
    encoded = {"format": FORMAT, **_encode(content, "checkpoint")}
    with written_whole(path) as stream:
        try:
            torch.save(encoded, stream)
        except RuntimeError as error:  # raised on closing, in place of Ctrl-C or of a full disk
            raise error.__context__ or error from None


def read_checkpoint(path: str | Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what ``save_checkpoint`` wrote; nothing in the file can run code.

    Raises:
        UserError: The file is missing, or is not a checkpoint of this package.
        DamagedFile: It holds another content than was written.
    """
    if not Path(path).is_file():
        raise UserError(f"checkpoint {path}: no such file")
    _check_sums(Path(path))
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise UserError(
            f"checkpoint {path}: cannot be read as tensors and plain values, as every checkpoint "
            "of recbole_diffusion can (RecBole's own hold pickled objects, which are not loaded)"
        ) from error
    found = content.get("format") if isinstance(content, dict) else type(content).__name__
    if found != FORMAT:
        raise UserError(f"checkpoint {path}: found format {found!r}, expected {FORMAT!r}")
    with refusals_of(f"checkpoint {path}: broken", LookupError, TypeError, ValueError):
        decoded: dict[str, Any] = _decode(content)
    return decoded


def _check_sums(path: Path) -> None:
    """Compare the sum of each part, which PyTorch writes and does not read."""
    fault = archive_fault(path)
    if fault is not None:
        raise DamagedFile(f"checkpoint {path}: {fault}, expected what was written")


def check_origin(path: str | Path, content: dict[str, Any], **expected: Any) -> None:
    """Refuse a checkpoint of another model or data set.

    Args:
        path: The file, for the message.
        content: What ``read_checkpoint`` gave.
        **expected: Entries that must be equal, such as ``model`` or ``split_hash``.

    Raises:
        UserError: The first entry that differs.
    """
    for key, value in expected.items():
        if content.get(key) != value:
            told = f"checkpoint {path}: found {key} {content.get(key)!r}, this run has {value!r}"
            raise UserError(_changed_data(Path(path), told) if key == "split_hash" else told)


def _changed_data(path: Path, told: str) -> str:
    again = f"refresh {shlex.quote(str(path.parent))}"
    return (
        f"the data have changed since {path.parent} was made. Train on from it with the new ones "
        f"(`{again}`), give it the files that it had (`--data_path=FOLDER`), or use "
        f"an export of it ({told})"
    )


def _encode(value: Any, place: str) -> Any:
    """Turn arrays and sparse matrices into tagged dicts of tensors; leave plain values."""
    if isinstance(value, (np.bool_, np.number, np.str_)):
        return value.item()
    if type(value) in (bool, int, float, str, type(None)) or isinstance(value, torch.Tensor):
        return value
    if sp.issparse(value):
        return _encode_sparse(value)
    if isinstance(value, dict):
        return {_plain_key(k, place): _encode(v, f"{place}.{k}") for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        parts = [_encode(v, f"{place}[{i}]") for i, v in enumerate(value)]
        return parts if isinstance(value, list) else tuple(parts)
    if isinstance(value, np.ndarray) and value.dtype.isnative and value.dtype.kind in "biufc":
        kind = "matrix" if isinstance(value, np.matrix) else "array"
        if value.dtype.itemsize <= 8 * (1 + (value.dtype.kind == "c")):  # no long doubles
            return {_KIND: kind, "values": torch.from_numpy(np.array(value))}
    held = f"{type(value).__name__} of {value.dtype}" if hasattr(value, "dtype") else type(value)
    raise TypeError(f"{place}: cannot store {held} in a checkpoint")


def _plain_key(key: Any, place: str) -> str | int:
    if type(key) in (str, int):
        plain: str | int = key
        return plain
    raise TypeError(f"{place}: found key {key!r}, expected a text or an integer")


def _encode_sparse(matrix: Any) -> dict[str, Any]:
    rows = matrix.tocsr()
    return {
        _KIND: "sparse",
        "layout": matrix.format,
        "is_array": isinstance(matrix, sp.sparray),
        "shape": list(matrix.shape),
        "data": torch.from_numpy(rows.data),
        "indices": torch.from_numpy(rows.indices),
        "indptr": torch.from_numpy(rows.indptr),
    }


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        kind = value.get(_KIND)
        if kind == "array":
            return value["values"].cpu().numpy()
        if kind == "matrix":
            return np.asmatrix(value["values"].cpu().numpy())
        if kind == "sparse":
            parts = tuple(value[name].cpu().numpy() for name in ("data", "indices", "indptr"))
            rows = sp.csr_array if value["is_array"] else sp.csr_matrix
            matrix = rows(parts, shape=tuple(value["shape"]))
            matrix.check_format(full_check=True)  # products do not, and read beyond their arrays
            return matrix.asformat(value["layout"])
        return {k: _decode(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_decode(v) for v in value)
    return value

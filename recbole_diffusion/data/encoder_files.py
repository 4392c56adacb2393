"""Where encoders are found, and where what they make is kept."""

import hashlib
import json
import os
from collections.abc import Sequence
from logging import getLogger
from pathlib import Path
from typing import Any

from recbole_diffusion.base.files import archive_fault, is_file_or_absent

KEY_DIGITS = 16


def key_of(content: Sequence[Any]) -> str:
    """What names the vectors made of something that JSON can write."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:KEY_DIGITS]


def cache_file(config: Any, kind: str, key: str) -> Path:
    """Beside the data set; in ``./dataset_atomic/<name>`` where that is installed or read-only.

    Args:
        config: Settings, which name the data set.
        kind: What is encoded, such as "text".
        key: Of ``key_of``.
    """
    folder, name = Path(config["data_path"]).resolve(), config["dataset"]
    is_ours = os.access(folder, os.W_OK) and "site-packages" not in folder.parts
    target = folder if is_ours else Path("dataset_atomic", name).resolve()
    return target / f"{name}.{kind}-{key}.npz"


def is_kept(path: Path) -> bool:
    """Whether vectors are there; a damaged file of them is told and taken away."""
    if is_file_or_absent(path) and archive_fault(path) is not None:
        getLogger().warning(f"{path}: found damaged vectors, which are made anew")
        path.unlink()
    return path.is_file()


def local_folder(config: Any, name: str) -> Path | None:
    """A folder, from the data set's folder, else from the working directory."""
    places = (Path(folder or "", name).resolve() for folder in (config["data_path"], "."))
    return next((place for place in places if place.is_dir()), None)


def content_digest(folder: Path) -> str:
    """SHA-256 of the names and contents of a folder's files."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            total.update(f"{path.relative_to(folder).as_posix()} {file_digest(path)}\n".encode())
    return total.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

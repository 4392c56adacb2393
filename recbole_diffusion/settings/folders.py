"""Where data sets lie."""

import os
from collections.abc import Sequence
from logging import getLogger
from pathlib import Path
from typing import Any

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.files import is_file_or_absent
from recbole_diffusion.settings.property_files import HOST_FOLDER, read_properties

# Keys whose values are paths.
PATH_KEYS = ("output_dir", "pretrained_user_embedding", "pretrained_item_embedding")
HOST_DATASETS = HOST_FOLDER / "dataset_example"


def find_dataset(dataset: str, data_path: str | None, benchmark: Sequence[str] | None) -> Path:
    """The folder that holds the data set's interactions.

    Raises:
        UserError: Found nowhere; the message lists the places and what to do.
    """
    names = [f"{dataset}.{part}.inter" for part in benchmark or ()] or [f"{dataset}.inter"]
    if data_path and not Path(data_path).is_dir():
        raise UserError(f"key `data_path`: {data_path!r} is no folder")
    roots = data_roots(data_path)
    for root in roots:
        folder = root / dataset
        if folder.is_dir() and all((folder / name).is_file() for name in names):
            return folder
    found = {file.name.split(".")[-2] for root in roots for file in _split_files(root / dataset)}
    parts = [part for part in ("train", "valid", "test") if part in found]
    hint = f" Its split is given: set benchmark_filename to {parts}." if parts else ""
    raise UserError(
        f"key `dataset`: {dataset!r} not found: looked for {', '.join(names)} in "
        f"{', '.join(str(root / dataset) for root in roots)}. --list_datasets prints what is "
        "there; dataset_atomic/README.md says how to convert released data or bring your own."
        + hint
    )


def _split_files(folder: Path) -> list[Path]:
    return list(folder.glob(f"{folder.name}.*.inter"))


def find_dataset_properties(dataset: str, data_path: str | None) -> Path | None:
    """The property file ``<dataset>.yaml`` beside a data set of the user's, if there is one."""
    candidates = (root / dataset / f"{dataset}.yaml" for root in data_roots(data_path))
    return next((path for path in candidates if is_file_or_absent(path)), None)


def tell_paths_outside(config: Any) -> None:
    """Warn of paths by which the property file beside the data leads out of its folder.

    Whoever made the data wrote them; a path of the user's own is nothing to warn of.

    Args:
        config: Settings of the run.
    """
    if config.data_file is None:
        return
    keys, folder = read_properties(config.data_file), config.data_file.parent
    used = {key: keys[key] for key in keys if keys[key] == config[key]}
    named = {key: used.get(key) for key in PATH_KEYS}
    for name, options in (used.get("item_features") or {}).items():
        named |= {f"item_features.{name}.{key}": options.get(key) for key in ("file", "ids")}
    for key, path in named.items():
        place = Path(os.path.normpath(folder / str(path)))  # a link in there stands for its file
        if path is not None and not place.is_relative_to(folder):
            getLogger().warning(
                f"{config.data_file}: key `{key}`: found {path!r}, which leads out of its folder"
            )


def data_roots(data_path: str | None = None) -> list[Path]:
    """Folders of data sets, in the order in which they are searched."""
    first = [Path(data_path).resolve()] if isinstance(data_path, str) and data_path else []
    return [*first, Path("dataset_atomic").resolve(), HOST_DATASETS]


def list_datasets(data_path: str | None = None) -> dict[str, str]:
    """Data sets that can be named by ``--dataset``, with the folder of each."""
    found: dict[str, str] = {}
    for root in data_roots(data_path):
        for folder in sorted(root.iterdir()) if root.is_dir() else ():
            if any(folder.glob(f"{folder.name}*.inter")):
                found.setdefault(folder.name, str(folder))
    return found

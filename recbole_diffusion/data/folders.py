"""Where data sets lie."""

from collections.abc import Sequence
from pathlib import Path

from recbole_diffusion.errors import UserError
from recbole_diffusion.property_files import HOST_FOLDER

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
    return next((path for path in candidates if path.is_file()), None)


def data_roots(data_path: str | None = None) -> list[Path]:
    """Folders of data sets, in the order in which they are searched."""
    given = [Path(data_path).resolve()] if isinstance(data_path, str) and data_path else []
    return [*given, Path("dataset_atomic").resolve(), HOST_DATASETS]


def list_datasets(data_path: str | None = None) -> dict[str, str]:
    """Data sets that can be named by ``--dataset``, with the folder of each."""
    found: dict[str, str] = {}
    for root in data_roots(data_path):
        for folder in sorted(root.iterdir()) if root.is_dir() else ():
            if any(folder.glob(f"{folder.name}*.inter")):
                found.setdefault(folder.name, str(folder))
    return found

"""The command line's way to ``compare``; what it refuses needs no PyTorch."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from recbole_diffusion.base.errors import RunsFailed
from recbole_diffusion.settings.writing import property_files
from recbole_diffusion.studies.compare.request import check_run_keys, read_request


def main(keys: Mapping[str, Any]) -> None:
    """``compare --models=A,B --dataset=D [--key=value ...]``.

    Args:
        keys: Of the command line.

    Raises:
        RunsFailed: After all that could be run and written.
    """
    check_run_keys(read_request(keys))
    results = import_module("recbole_diffusion.studies.compare.run").compare(config_dict=keys)
    cells = [cell for model in results["models"] for cell in model["cells"]]
    is_whole = all(model["status"] == "finished" for model in results["models"])
    if not is_whole or any(cell["error"] for cell in cells):
        raise RunsFailed


def keys_text() -> str:
    """The command's own keys, their defaults and meaning, for ``compare --help``."""
    return property_files()["compare.yaml"]

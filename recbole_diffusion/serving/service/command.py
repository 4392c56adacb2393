"""The command ``serve``: runs and exports over HTTP. Its help needs no PyTorch and no extra."""

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from recbole_diffusion.base.errors import UserError, expect
from recbole_diffusion.serving.service.settings import ServeSettings
from recbole_diffusion.settings.kinds import check_value
from recbole_diffusion.settings.run_settings import KEYS_OF_PLACE
from recbole_diffusion.settings.writing import property_text

# Packages of the extra `serve`.
NEEDED = ("fastapi", "uvicorn", "prometheus_client")


def main(keys: Mapping[str, Any]) -> None:
    """The command line's way in: ``serve RUN... [--port=8000]``; returns when told to stop.

    Args:
        keys: Of the command line.

    Raises:
        UserError: No run, another key, a value that does not fit, an address that is taken, or a
            package that is missing.
    """
    settings, folders, places = read_keys(keys)
    require_extra()
    import_module("recbole_diffusion.serving.service.server").serve(settings, folders, places)


def keys_text() -> str:
    """The command's own keys, for ``serve --help``."""
    title = (
        "RUN is the folder of a run or an export; of several, requests name one by its folder's "
        "name, the first by default. Keys, beside those of a place (--data_path, --use_gpu):"
    )
    return property_text(ServeSettings, title)


def read_keys(keys: Mapping[str, Any]) -> tuple[ServeSettings, list[str], dict[str, Any]]:
    """Sort the keys of the command line.

    Args:
        keys: Of ``ServeSettings``; ``runs``, a list of folders; and of a place.

    Returns:
        The service's settings, the folders, and the keys of a place.

    Raises:
        UserError: No folder, another key, or a value that does not fit.
    """
    known, folders = ServeSettings.keys(), keys.get("runs", [])
    unknown = sorted(set(keys) - {*known, "runs", *KEYS_OF_PLACE})
    if unknown or not folders:
        raise UserError(
            f"serve: found {', '.join(unknown) or 'no RUN'}, expected folders of runs or exports "
            "and keys that serve --help lists"
        )
    values = {name: keys.get(name, one.default) for name, one in known.items()}
    for name, one in known.items():
        check_value("", name, values[name], one.default, {name: one.kind})
    pictures = values["pictures"]
    is_folder = pictures is None or os.path.isdir(pictures)
    expect(is_folder, "pictures", pictures, "a folder")
    places = {key: value for key, value in keys.items() if key in KEYS_OF_PLACE}
    return ServeSettings(values), folders, places


def require_extra() -> None:
    """See that the packages of the extra are there.

    Raises:
        UserError: One is missing.
    """
    for name in NEEDED:
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            raise UserError(
                f"serve needs `{error.name}`, which is not installed: "
                'pip install "recbole_diffusion[serve]"'
            ) from error

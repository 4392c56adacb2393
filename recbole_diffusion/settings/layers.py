"""The settings of a run as property files and the command line give them, refused before PyTorch.

package overall < dataset < model < model on dataset < config files < command line. Each of the
first four is RecBole's own file, if it has one, and then ours; a model of ours never inherits
RecBole's file of the same name.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from recbole_diffusion.base.errors import UnreadKey, UserError
from recbole_diffusion.settings.folders import find_dataset_properties
from recbole_diffusion.settings.item_features import feature_names
from recbole_diffusion.settings.keys import check_layer, check_neumf, check_values
from recbole_diffusion.settings.kinds import check_value
from recbole_diffusion.settings.property_files import (
    default_layers,
    find_property_file,
    read_user_properties,
)
from recbole_diffusion.settings.recency import check_history_weights, check_recency
from recbole_diffusion.settings.registry import Registration, check_packages
from recbole_diffusion.settings.values import check_text

# What RecBole's overall.yaml has for `wandb_project`.
HOST_PROJECT = "recbole"


@dataclass(frozen=True)
class Layers:
    """Settings of a run, in two layers.

    Attributes:
        defaults: Of the package and of the data set.
        chosen: What the user's files and the command line say.
        effective: Both together, copied.
        data_file: The property file beside the data, if there is one.
    """

    defaults: dict[str, Any]
    chosen: dict[str, Any]
    effective: dict[str, Any]
    data_file: Path | None


def read_layers(
    registration: Registration,
    dataset: str,
    config_files: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    saved: tuple[str, Mapping[str, Any]] = ("", {}),
) -> Layers:
    """Read the property files of a run, and check every key and value.

    Args:
        registration: Of the model.
        dataset: Data set name.
        config_files: Property files of the user, later ones first in precedence.
        overrides: Command-line keys and values.
        saved: A checkpoint, for messages, and its settings, which lie below the overrides.

    Raises:
        UserError: An unknown key, a value of another type or out of its range, or a contradiction.
        UnreadKey: A key that this model does not read.
    """
    check_text("key `dataset`", dataset)
    user = [(str(name), read_user_properties(find_property_file(name))) for name in config_files]
    user += [(saved[0], dict(saved[1])), ("command line", dict(overrides or {}))]
    chosen = _merge(user)
    check_value("", "data_path", chosen.get("data_path"), None)
    data_file = find_dataset_properties(dataset, chosen.get("data_path"))
    defaults = _merge(default_layers(registration, dataset, data_file))
    if data_file is not None:
        _check_data_file(data_file, _merge(default_layers(registration, dataset)), registration)
    kinds = registration.kinds
    for source, layer in user:
        check_layer(source, layer, defaults, kinds)
    final = copy.deepcopy({**defaults, **chosen})
    check_values(final, kinds)
    if registration.is_host and registration.name == "NeuMF":
        check_neumf(final)
    _check_recency(final, registration)
    feature_names(final)
    check_packages(registration, final)
    _check_optional(final)
    return Layers(defaults, chosen, final, data_file)


def _check_recency(final: Mapping[str, Any], registration: Registration) -> None:
    try:
        check_history_weights(final, registration)
    except UserError as error:
        check_recency(final)  # where its values fit, the model does not read it
        raise UnreadKey(str(error), "recency") from error


def _check_optional(final: Mapping[str, Any]) -> None:
    """Keys that need a package which is no requirement, and RecBole's that one of them replaces."""
    if final["log_wandb"]:
        raise UserError("key `log_wandb`: found True, expected false; write tracker: wandb instead")
    if final["wandb_project"] != HOST_PROJECT:
        raise UserError(
            f"key `wandb_project`: found {final['wandb_project']!r}, expected none; write "
            "tracker_project instead"
        )
    needed = {"tracker": final["tracker"], "energy": "codecarbon" if final["energy"] else "none"}
    for key, package in needed.items():
        if package != "none" and find_spec(package) is None:
            extra = "track" if key == "tracker" else key
            raise UserError(
                f"key `{key}`: found {final[key]!r}, but {package} is not installed: "
                f"pip install 'recbole_diffusion[{extra}]'"
            )


def _check_data_file(path: Path, shipped: dict[str, Any], registration: Registration) -> None:
    keys = read_user_properties(path)
    check_layer(str(path), keys, shipped, registration.kinds)
    if "data_path" in keys:
        raise UserError(
            f"{path}: key `data_path`: found {keys['data_path']!r}, expected none: the "
            "file describes the data that it lies beside"
        )


def _merge(layers: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for _, layer in layers:
        merged.update(layer)
    return merged

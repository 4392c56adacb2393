"""Settings of a run: property files in layers, checked before anything is loaded."""

import copy
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from recbole.config import Config as HostConfig
from recbole.utils import ModelType

from recbole_diffusion.base.errors import UnreadKey, UserError, host_refusals
from recbole_diffusion.settings.folders import find_dataset, find_dataset_properties
from recbole_diffusion.settings.item_features import check_embedding_files, feature_names
from recbole_diffusion.settings.keys import REFUSED, check_layer, check_neumf, check_values
from recbole_diffusion.settings.kinds import check_value
from recbole_diffusion.settings.property_files import (
    default_layers,
    find_property_file,
    read_given_properties,
)
from recbole_diffusion.settings.recency import check_history_weights, check_recency
from recbole_diffusion.settings.registry import check_packages, find_model
from recbole_diffusion.settings.values import PropertyLoader, check_text


class Config(HostConfig):
    """RecBole's configuration, from layers that each override the one before.

    package overall < dataset < model < model on dataset < config files < command line. Each of the
    first four is RecBole's own file, if it has one, and then ours; a model of ours never inherits
    RecBole's file of the same name.

    Args:
        model: Model name (see ``registry.find_model``) or class.
        dataset: Data set name.
        config_files: Property files of the user, later ones first in precedence.
        overrides: Command-line keys and values.
        saved: A checkpoint, for messages, and its settings, which lie below the overrides.

    Raises:
        UserError: Unknown model, key or device, a wrong type, or a contradiction.
        UnreadKey: A key that this model does not read.
    """

    def __init__(
        self,
        model: str | type = "InfoDCL",
        dataset: str = "ml-100k",
        config_files: Sequence[str] = (),
        overrides: Mapping[str, Any] | None = None,
        saved: tuple[str, Mapping[str, Any]] = ("", {}),
    ) -> None:
        if isinstance(model, str):
            check_text("key `model`", model)
        check_text("key `dataset`", dataset)
        self.registration = find_model(model)
        self.model = self.registration.name
        self.model_class: Any = self.registration.model_class
        self.dataset = dataset
        self.yaml_loader = PropertyLoader
        self._init_parameters_category()

        user = [(str(f), read_given_properties(find_property_file(f))) for f in config_files]
        user += [(saved[0], dict(saved[1])), ("command line", dict(overrides or {}))]
        self.external_config_dict = _merge(user)
        check_value("", "data_path", self.external_config_dict.get("data_path"), None)
        own_file = find_dataset_properties(dataset, self.external_config_dict.get("data_path"))
        self.own_file = own_file
        self.internal_config_dict = _merge(default_layers(self.registration, dataset, own_file))
        kinds = self.registration.kinds
        if own_file is not None:
            shipped = _merge(default_layers(self.registration, dataset))
            own = read_given_properties(own_file)
            check_layer(str(own_file), own, shipped, kinds)
            if "data_path" in own:
                raise UserError(
                    f"{own_file}: key `data_path`: found {own['data_path']!r}, expected none: the "
                    "file describes the data that it lies beside"
                )
        for source, layer in user:
            check_layer(source, layer, self.internal_config_dict, kinds)

        self.internal_config_dict["MODEL_TYPE"] = self.registration.type
        self.final_config_dict = copy.deepcopy(
            {**self.internal_config_dict, **self.external_config_dict}
        )
        if not saved[1]:  # a saved run has read them
            check_embedding_files(self.final_config_dict)
        self._complete()

    def _complete(self) -> None:
        """Derive what RecBole derives, with its errors as ours."""
        final = self.final_config_dict
        if self.registration.type not in (ModelType.GENERAL, ModelType.TRADITIONAL):
            raise UserError(f"key `model`: {self.model} is not a general recommender")
        check_values(final, self.registration.kinds)
        if self.registration.is_host and self.registration.name == "NeuMF":
            check_neumf(final)
        self._check_history_weights()
        feature_names(final)
        check_packages(self.registration, final)
        _check_wandb(final)
        if hasattr(self.model_class, "check_config"):
            self.model_class.check_config(final)
        data_path = final["data_path"]
        final["data_path"] = ""
        with host_refusals("settings", ValueError, TypeError, RuntimeError, KeyError):
            self._set_default_parameters()
            self._set_train_neg_sample_args()
            self._set_eval_neg_sample_args("valid")
            self._set_eval_neg_sample_args("test")
        final["data_path"] = str(find_dataset(self.dataset, data_path, final["benchmark_filename"]))
        self._init_device()

    def _check_history_weights(self) -> None:
        final = self.final_config_dict
        try:
            check_history_weights(final, self.model_class, self.registration.is_host)
        except UserError as error:
            check_recency(final)  # where its values fit, the model does not read it
            raise UnreadKey(str(error), "recency") from error

    def _init_device(self) -> None:
        """Choose the device; the user's CUDA_VISIBLE_DEVICES stands."""
        final = self.final_config_dict
        available = torch.cuda.is_available()
        asked = final["use_gpu"] is True or (
            final["use_gpu"] == "auto" and self.external_config_dict.get("gpu_id") is not None
        )
        if asked and not available:
            raise UserError(
                "key `use_gpu`/`gpu_id`: a GPU was asked for, and PyTorch "
                f"{torch.__version__} sees none here; leave them out or set use_gpu: false"
            )
        if final["use_gpu"] not in (True, False, "auto"):
            raise UserError(
                f"key `use_gpu`: found {final['use_gpu']!r}, expected true, false or auto"
            )
        final["use_gpu"] = available and final["use_gpu"] is not False
        final["device"] = self._cuda_device() if final["use_gpu"] else torch.device("cpu")
        # RecBole's marks of a run in one process.
        final["single_spec"], final["local_rank"] = True, 0

    def _cuda_device(self) -> torch.device:
        index, count = self.final_config_dict["gpu_id"] or 0, torch.cuda.device_count()
        if not str(index).isdigit() or int(index) >= count:
            raise UserError(f"key `gpu_id`: found {index!r}, expected 0..{count - 1}")
        return torch.device("cuda", int(index))

    def derive(self, **changes: Any) -> "Config":
        """The same settings with some keys changed, for a stage of a run."""
        derived = copy.copy(self)
        derived.final_config_dict = {**self.final_config_dict, **changes}
        return derived

    def plain_settings(self) -> dict[str, Any]:
        """The effective settings as plain values, fit for YAML, JSON and checkpoints."""
        return {key: _plain(value) for key, value in sorted(self.final_config_dict.items())}

    def settable(self) -> dict[str, Any]:
        """The effective settings that a property file may hold, so that it repeats the run."""
        return settable(self.plain_settings())


def _check_wandb(final: Mapping[str, Any]) -> None:
    """RecBole would ask for the package when the run's folder is made."""
    if final["log_wandb"] and find_spec("wandb") is None:
        raise UserError(
            "key `log_wandb`: found True, but wandb is not installed: pip install wandb"
        )


def settable(plain_settings: Mapping[str, Any]) -> dict[str, Any]:
    """Of ``plain_settings`` of a run, those that repeat it as keys of a property file."""
    kept = {k: v for k, v in plain_settings.items() if k not in (*REFUSED, "model", "dataset")}
    return {**kept, "data_path": str(Path(kept["data_path"]).parent)}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)


def _merge(layers: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for _, layer in layers:
        merged.update(layer)
    return merged

"""Settings of a run: property files in layers, checked before anything is loaded."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from recbole.config import Config as HostConfig
from recbole.utils import ModelType

from recbole_diffusion.base.errors import UserError, expect, host_refusals
from recbole_diffusion.base.launch import read_launch
from recbole_diffusion.settings.evaluation_keys import without_group
from recbole_diffusion.settings.folders import find_dataset
from recbole_diffusion.settings.item_features import check_embedding_files
from recbole_diffusion.settings.keys import REFUSED
from recbole_diffusion.settings.layers import read_layers
from recbole_diffusion.settings.registry import find_model
from recbole_diffusion.settings.values import PropertyLoader, check_text


class Config(HostConfig):
    """RecBole's configuration, of the layers that ``layers.read_layers`` reads.

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
        self.registration = find_model(model)
        layers = read_layers(self.registration, dataset, config_files, overrides, saved)
        self.model, self.dataset = self.registration.name, dataset
        self.model_class: Any = self.registration.model_class
        self.yaml_loader = PropertyLoader
        self._init_parameters_category()
        self.data_file = layers.data_file
        self.external_config_dict = layers.chosen
        self.internal_config_dict = {**layers.defaults, "MODEL_TYPE": self.registration.type}
        self.final_config_dict = {**layers.effective, "MODEL_TYPE": self.registration.type}
        if not saved[1]:  # a saved run has read them
            check_embedding_files(self.final_config_dict)
        self._complete()

    def _complete(self) -> None:
        """Derive what RecBole derives, with its errors as ours."""
        final = self.final_config_dict
        if self.registration.type not in (ModelType.GENERAL, ModelType.TRADITIONAL):
            raise UserError(f"key `model`: {self.model} is not a general recommender")
        if hasattr(self.model_class, "check_config"):
            self.model_class.check_config(final)
        wanted = final["valid_metric"]
        expected = (
            f"a metric without (cold): {self.model} cannot score cold items by these settings"
        )
        is_cold = without_group(wanted.lower())[1] == "cold"
        expect(self.scores_cold_items or not is_cold, "valid_metric", wanted, expected)
        data_path = final["data_path"]
        final["data_path"] = ""
        with host_refusals("settings", ValueError, TypeError, RuntimeError, KeyError):
            self._set_default_parameters()
            self._set_train_neg_sample_args()
            self._set_eval_neg_sample_args("valid")
            self._set_eval_neg_sample_args("test")
        final["data_path"] = str(find_dataset(self.dataset, data_path, final["benchmark_filename"]))
        self._init_device()

    def _init_device(self) -> None:
        """Choose the device; the user's CUDA_VISIBLE_DEVICES stands."""
        final = self.final_config_dict
        available = torch.cuda.is_available()
        is_required = final["use_gpu"] is True or (
            final["use_gpu"] == "auto" and self.external_config_dict.get("gpu_id") is not None
        )
        if is_required and not available:
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
        if read_launch().rank > 0:  # the first shows and writes
            final["show_progress"] = False

    def _cuda_device(self) -> torch.device:
        """Key ``gpu_id``; of several processes on a machine each takes its own."""
        launch, count = read_launch(), torch.cuda.device_count()
        if launch.size > 1:
            if launch.local_rank >= count:
                raise UserError(
                    f"environment LOCAL_RANK: found {launch.local_rank}, but {count} GPUs; "
                    "expected a GPU for each process, or key `use_gpu`: false"
                )
            return torch.device("cuda", launch.local_rank)
        index = self.final_config_dict["gpu_id"] or 0
        if not str(index).isdigit() or int(index) >= count:
            raise UserError(f"key `gpu_id`: found {index!r}, expected 0..{count - 1}")
        return torch.device("cuda", int(index))

    @property
    def scores_cold_items(self) -> bool:
        """Whether the model can score items without train interactions, as its class declares."""
        declared = getattr(self.model_class, "scores_cold_items", None)
        return declared is not None and bool(declared(self.final_config_dict))

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

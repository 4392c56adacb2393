"""Patches of what scripts for RecBole call: its quick start, its checkpoints, names of models."""

import hashlib
import os
import pickle
from types import SimpleNamespace
from typing import Any

import torch

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.host.patch import (
    Overlay,
    Patch,
    host_kind,
    host_modules_with,
    in_every_version,
)

# SHA-256 of the files that RecBole's code has written in this process.
_written: set[bytes] = set()


def _save(state: Any, file: Any, *args: Any, **kwargs: Any) -> None:
    torch.save(state, file, *args, **kwargs)
    if isinstance(file, (str, os.PathLike)):
        with open(file, "rb") as stream:
            _written.add(hashlib.file_digest(stream, "sha256").digest())


def _load(file: Any, *args: Any, **kwargs: Any) -> Any:
    """As ``torch.load``; pickled objects only of a file that this process wrote, by its hash.

    Raises:
        UserError: Another file that holds more than tensors and plain values.
    """
    with open(file, "rb") as stream:
        is_written_here = hashlib.file_digest(stream, "sha256").digest() in _written
        stream.seek(0)
        try:
            return torch.load(stream, *args, **{"weights_only": not is_written_here, **kwargs})
        except pickle.UnpicklingError as error:
            raise UserError(
                f"checkpoint {file}: holds pickled objects, as RecBole writes them, which are read "
                "only in the process that wrote them; train by "
                "recbole_diffusion.run_recbole_diffusion, and read its run by "
                "recbole_diffusion.load_run(folder)"
            ) from error


def _load_data_and_model(model_file: str) -> tuple[Any, ...]:
    """As the host's, whose own ``torch.load`` refuses its own files."""
    from recbole.quick_start import quick_start as host

    checkpoint = _load(model_file)
    config = checkpoint["config"]
    host.init_seed(config["seed"], config["reproducibility"])
    host.init_logger(config)
    dataset = host.create_dataset(config)
    loaders = host.data_preparation(config, dataset)
    host.init_seed(config["seed"], config["reproducibility"])
    model_class = host.get_model(config["model"])
    model = model_class(config, loaders[0]._dataset).to(config["device"])
    model.load_state_dict(checkpoint["state_dict"])
    model.load_other_parameter(checkpoint.get("other_parameter"))
    return config, model, dataset, *loaders


def _read_own_checkpoints() -> None:
    for module in host_modules_with(r"torch\.load\("):
        if hasattr(module, "torch"):
            module.torch = Overlay(module.torch, save=_save, load=_load)
    for module in host_modules_with(r"load_data_and_model\b"):
        module.load_data_and_model = _load_data_and_model


def _name_unknown_models() -> None:
    from recbole.utils import utils

    host_function = utils.get_model

    def get_model(model_name: str) -> Any:
        """As the host's, which looks for unknown names in a module that imports lightgbm."""
        if host_kind(model_name) is not None:
            return host_function(model_name)
        raise UserError(
            f"model {model_name!r}: RecBole has no model of this name; one of recbole_diffusion is "
            f"run by recbole_diffusion.run_recbole_diffusion(model={model_name!r})"
        )

    for module in host_modules_with(r"get_model,|def get_model\(model_name"):
        module.get_model = get_model


def _end_without_psutil() -> None:
    from recbole.utils import utils

    host_function = utils.get_environment

    def get_environment(config: Any) -> Any:
        """As the host's table of CPU, GPU and memory; a line where a package for it is missing."""
        try:
            return host_function(config)
        except ModuleNotFoundError as error:
            line = f"not known without the package `{error.name}`: pip install {error.name}"
            return SimpleNamespace(draw=lambda: line)

    for module in host_modules_with(r"get_environment,|def get_environment\("):
        module.get_environment = get_environment


PATCHES = (
    Patch(
        "read_own_checkpoints",
        "RecBole pickles its Config into checkpoints, which torch.load refuses since 2.6",
        in_every_version,
        _read_own_checkpoints,
    ),
    Patch(
        "name_unknown_models",
        "a model that RecBole has not makes it import lightgbm, whose absence is the error",
        in_every_version,
        _name_unknown_models,
    ),
    Patch(
        "end_without_psutil",
        "run_recbole imports psutil after training, which RecBole 1.2.0 does not require",
        in_every_version,
        _end_without_psutil,
    ),
)

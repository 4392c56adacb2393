"""Settings of a run: property files in layers, checked before anything is loaded."""

import ast
import copy
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import recbole
import torch
import yaml
from recbole.config import Config as HostConfig
from recbole.utils import ModelType
from recbole.utils.argument_list import (
    dataset_arguments,
    evaluation_arguments,
    general_arguments,
    training_arguments,
)

from recbole_diffusion.errors import UserError
from recbole_diffusion.registry import Registration, find_model

HOST_FOLDER = Path(recbole.__file__).parent
HOST_PROPERTIES = HOST_FOLDER / "properties"

# Keys of the host that would do nothing here, or harm.
REFUSED = {
    "checkpoint_dir": "every run writes to a folder of its own under `output_dir`",
    "config_file": "name the files by `config_files`",
    "save_dataset": "data is read from its atomic files in every run; nothing pickled is read",
    "dataset_save_path": "data is read from its atomic files in every run; nothing pickled is read",
    "save_dataloaders": "splits are drawn from `split_seed`; nothing pickled is read",
    "dataloaders_save_path": "splits are drawn from `split_seed`; nothing pickled is read",
}
ALSO_ALLOWED: dict[str, tuple[type, ...]] = {
    "metrics": (str,),
    "topk": (int,),
    "use_gpu": (bool,),
    "gpu_id": (int, str),
}


class _Loader(yaml.SafeLoader):
    """Safe YAML in which 1e-3 is a number, as RecBole's users write it."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)$"),
    list("-+0123456789."),
)


def parse_value(text: str, source: str) -> Any:
    """Parse one command-line value as YAML.

    Raises:
        UserError: Not valid YAML.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise UserError(f"{source}: found {text!r}, which is not valid YAML: {error}") from error


def read_properties(path: Path) -> dict[str, Any]:
    """Read one property file.

    Raises:
        UserError: Missing, not YAML, or not a mapping of keys.
    """
    if not path.is_file():
        raise UserError(f"property file {path}: no such file")
    content = parse_value(path.read_text(encoding="utf-8"), f"property file {path}") or {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UserError(
            f"property file {path}: found {type(content).__name__}, expected keys and values"
        )
    return content


def properties_folder() -> Path:
    """The package's property files: inside the wheel, or beside the package in a clone."""
    package = Path(str(resources.files("recbole_diffusion")))
    installed = package / "properties"
    return installed if installed.is_dir() else package.parent / "properties"


def _config_file(name: str) -> Path:
    """A path as given, else a file of the package's properties."""
    path, packaged = Path(name), properties_folder() / name
    if path.is_file():
        return path
    if packaged.is_file():
        return packaged
    raise UserError(
        f"key `config_files`: {name!r} found neither as {path.resolve()} nor {packaged}"
    )


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

    Raises:
        UserError: Unknown model, key or device, a wrong type, or a contradiction.
    """

    def __init__(
        self,
        model: str | type = "InfoDCL",
        dataset: str = "ml-100k",
        config_files: Sequence[str] = (),
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        self.registration = find_model(model)
        self.model = self.registration.name
        self.model_class: Any = self.registration.model_class
        self.dataset = dataset
        self.yaml_loader = _Loader
        self._init_parameters_category()

        defaults = _default_layers(self.registration, dataset)
        user = [(str(f), read_properties(_config_file(f))) for f in config_files]
        user.append(("command line", dict(overrides or {})))
        self.internal_config_dict = _merge(defaults)
        self.external_config_dict = _merge(user)
        for source, layer in user:
            self._check_layer(source, layer)

        self.internal_config_dict["MODEL_TYPE"] = self.registration.type
        self.final_config_dict = copy.deepcopy(
            {**self.internal_config_dict, **self.external_config_dict}
        )
        self._complete()

    def _check_layer(self, source: str, layer: Mapping[str, Any]) -> None:
        for key, value in layer.items():
            if key in REFUSED:
                raise UserError(f"{source}: key `{key}` cannot be set: {REFUSED[key]}")
            if key not in _declared_keys() | set(self.internal_config_dict):
                _check_known(source, key, self.model_class)
            if key in self.internal_config_dict:
                _check_type(source, key, value, self.internal_config_dict[key])

    def _complete(self) -> None:
        """Derive what RecBole derives, with its errors as ours."""
        final = self.final_config_dict
        if self.registration.type not in (ModelType.GENERAL, ModelType.TRADITIONAL):
            raise UserError(f"key `model`: {self.model} is not a general recommender")
        data_path = final["data_path"]
        final["data_path"] = ""
        try:
            self._set_default_parameters()
            self._set_train_neg_sample_args()
            self._set_eval_neg_sample_args("valid")
            self._set_eval_neg_sample_args("test")
        except (ValueError, TypeError, NotImplementedError, RuntimeError, KeyError) as error:
            raise UserError(f"settings: {error}") from error
        final["data_path"] = str(_find_data(self.dataset, data_path, final["benchmark_filename"]))
        self._check_valid_metric()
        self._init_device()

    def _check_valid_metric(self) -> None:
        final = self.final_config_dict
        known = {f"{m}@{k}".lower() for m in final["metrics"] for k in final["topk"]}
        known |= {metric.lower() for metric in final["metrics"]}
        if final["valid_metric"].lower() not in known:
            raise UserError(
                f"key `valid_metric`: found {final['valid_metric']!r}, expected one of `metrics` "
                f"{final['metrics']} at one of `topk` {final['topk']}"
            )

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


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)


def _default_layers(registration: Registration, dataset: str) -> list[tuple[str, dict[str, Any]]]:
    """Property files below the user's, lowest first; absent ones are left out."""
    ours, name = properties_folder(), registration.name
    model_files = [registration.properties or ours / "model" / f"{name}.yaml"]
    if registration.is_host:
        model_files = [HOST_PROPERTIES / "model" / f"{name}.yaml"]
    on_dataset = f"recbole.{name}" if _is_shadowed(registration) else name
    paths = [
        HOST_PROPERTIES / "overall.yaml",
        HOST_PROPERTIES / "dataset" / "sample.yaml",
        ours / "overall.yaml",
        HOST_PROPERTIES / "dataset" / f"{dataset}.yaml",
        ours / "dataset" / f"{dataset}.yaml",
        *model_files,
        ours / "model_on_dataset" / on_dataset / f"{dataset}.yaml",
    ]
    return [(str(path), read_properties(path)) for path in paths if path.is_file()]


def _is_shadowed(registration: Registration) -> bool:
    """Whether this is RecBole's model of a name that is ours first."""
    return registration.is_host and not find_model(registration.name).is_host


def _merge(layers: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for _, layer in layers:
        merged.update(layer)
    return merged


@cache
def _declared_keys() -> frozenset[str]:
    """Keys of every property file, RecBole's and ours, and of RecBole's argument lists."""
    keys = {"model", "dataset", "config_files"}
    for arguments in (
        general_arguments,
        training_arguments,
        evaluation_arguments,
        dataset_arguments,
    ):
        keys.update(arguments)
    for folder in (HOST_PROPERTIES, properties_folder()):
        for path in folder.rglob("*.yaml"):
            if not path.name.endswith("url.yaml"):
                keys.update(read_properties(path))
    return frozenset(keys)


def keys_read_by(source: str) -> set[str]:
    """Keys that a module's code reads as ``config["key"]``, ``config.get`` or ``"key" in config``.

    Args:
        source: Python source text.
    """
    keys: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Subscript) and _is_config(node.value):
            keys.add(_text(node.slice))
        elif isinstance(node, ast.Compare) and _is_config(node.comparators[0]):
            keys.add(_text(node.left))
        elif isinstance(node, ast.Attribute) and _is_config(node.value):
            keys.add(node.attr)
    return keys - {""}


def _is_config(node: ast.expr) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name in ("config", "final_config_dict")


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


@cache
def host_code_keys() -> frozenset[str]:
    """Keys that RecBole's own code reads; some stand in none of its property files."""
    return frozenset(
        key
        for path in HOST_FOLDER.rglob("*.py")
        for key in keys_read_by(path.read_text(encoding="utf-8"))
    )


def _check_known(source: str, key: str, model_class: type) -> None:
    """Read code only for a key that no property file declares: that takes a second."""
    own = set()
    for base in model_class.__mro__:
        path = getattr(__import__("sys").modules.get(base.__module__), "__file__", None)
        if path and not base.__module__.startswith(("torch", "builtins")):
            own |= keys_read_by(Path(path).read_text(encoding="utf-8"))
    known = _declared_keys() | host_code_keys() | own
    if key in known:
        return
    near = get_close_matches(key, known, n=1, cutoff=0.6)
    hint = f"; did you mean `{near[0]}`?" if near else ""
    raise UserError(f"{source}: unknown key `{key}`{hint}")


def _check_type(source: str, key: str, value: Any, default: Any) -> None:
    """A value has the type of its key's default; a whole number serves for a float."""
    if default is None or _has_type(value, default) or isinstance(value, ALSO_ALLOWED.get(key, ())):
        return
    raise UserError(
        f"{source}: key `{key}`: found {value!r} ({type(value).__name__}), "
        f"expected a {type(default).__name__} such as {default!r}"
    )


def _has_type(value: Any, default: Any) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, float):
        return isinstance(value, (int, float))
    return isinstance(value, type(default)) or (
        value is None and isinstance(default, (str, list, dict))
    )


def _find_data(dataset: str, data_path: str | None, benchmark: Sequence[str] | None) -> Path:
    """The folder that holds the data set's interactions.

    Raises:
        UserError: Found nowhere; the message lists the places and what to do.
    """
    names = [f"{dataset}.{part}.inter" for part in benchmark or ()] or [f"{dataset}.inter"]
    roots = data_roots(data_path)
    for root in roots:
        folder = root / dataset
        if folder.is_dir() and all((folder / name).is_file() for name in names):
            return folder
    raise UserError(
        f"key `dataset`: {dataset!r} not found: looked for {', '.join(names)} in "
        f"{', '.join(str(root / dataset) for root in roots)}. --list_datasets prints what is "
        "there; dataset_atomic/README.md says how to convert released data or bring your own."
    )


def data_roots(data_path: str | None = None) -> list[Path]:
    """Folders of data sets, in the order in which they are searched."""
    given = [Path(data_path).resolve()] if data_path else []
    return [*given, Path("dataset_atomic").resolve(), HOST_FOLDER / "dataset_example"]


def list_datasets(data_path: str | None = None) -> dict[str, str]:
    """Data sets that can be named by ``--dataset``, with the folder of each."""
    found: dict[str, str] = {}
    for root in data_roots(data_path):
        for folder in sorted(root.iterdir()) if root.is_dir() else ():
            if any(folder.glob(f"{folder.name}*.inter")):
                found.setdefault(folder.name, str(folder))
    return found

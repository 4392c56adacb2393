"""Settings of a run: property files in layers, checked before anything is loaded."""

import ast
import copy
import re
import sys
import warnings
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
from recbole.evaluator import GAUC, LossMetric, metric_types, metrics_dict
from recbole.utils import ModelType
from recbole.utils.argument_list import (
    dataset_arguments,
    evaluation_arguments,
    general_arguments,
    training_arguments,
)

from recbole_diffusion.errors import UserError, refusals_of
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
    "device": "it follows from `use_gpu` and `gpu_id`",
    "split_hash": "it follows from the data and `split_seed`",
    "MODEL_TYPE": "it follows from the model",
    "MODEL_INPUT_TYPE": "it follows from the model",
    "eval_type": "it follows from `metrics`",
    "valid_neg_sample_args": "it follows from `eval_args`",
    "test_neg_sample_args": "it follows from `eval_args`",
    "single_spec": "a run is one process",
    "local_rank": "a run is one process",
    "world_size": "a run is one process",
}
ALSO_ALLOWED: dict[str, tuple[type, ...]] = {
    "metrics": (str,),
    "topk": (int,),
    "use_gpu": (bool,),
    "gpu_id": (int, str),
}


MINIMUM = {
    "epochs": 0,
    "train_batch_size": 1,
    "learning_rate": 0.0,
    "weight_decay": 0.0,
    "eval_step": 0,
    "stopping_step": 0,
    "seed": 0,
    "split_seed": 0,
    "eval_batch_size": 1,
    "eval_batch_users": 1,
    "eval_memory_mb": 1e-3,
    "metric_decimal_place": 0,
    "embedding_size": 1,
    "n_layers": 0,
    "n_neighbors": 1,
    "steps": 1,
    "temperature": 1e-6,
    "embedding_std": 0.0,
    "reconstruction_weight": 0.0,
    "bpr_weight": 0.0,
    "contrastive_weight": 0.0,
    "balance_weight": 0.0,
    "reg_weight": 0.0,
    "pretrain_reg_weight": 0.0,
    "pretrain_epochs": 1,
    "pretrain_learning_rate": 0.0,
    "pretrain_n_layers": 1,
    "pretrain_stopping_step": 0,
}
CHOICES = {
    "state": ("debug", "info", "warning", "error", "critical"),
    "learner": ("adam", "adamw", "sgd", "adagrad", "rmsprop", "sparse_adam"),
}
EVAL_ARGS = ("split", "order", "group_by", "mode")
EVAL_MODE = re.compile(r"full|labeled|(uni|pop)[1-9]\d*")


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
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{source}: found {text!r}, which is not valid YAML: {reason}") from error


def read_properties(path: Path) -> dict[str, Any]:
    """Read one property file.

    Raises:
        UserError: Missing, not YAML, or not a mapping of keys.
    """
    if not path.is_file():
        raise UserError(f"property file {path}: no such file")
    with refusals_of(f"property file {path} is not UTF-8 text", UnicodeDecodeError):
        text = path.read_text(encoding="utf-8")
    content = parse_value(text, f"property file {path}") or {}
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
            if key in ("model", "dataset"):
                raise UserError(f"{source}: key `{key}`: found {value!r}, expected as --{key} only")
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
        self._check_values()
        data_path = final["data_path"]
        final["data_path"] = ""
        with refusals_of("settings", ValueError, TypeError, RuntimeError, KeyError):
            self._set_default_parameters()
            self._set_train_neg_sample_args()
            self._set_eval_neg_sample_args("valid")
            self._set_eval_neg_sample_args("test")
        final["data_path"] = str(_find_data(self.dataset, data_path, final["benchmark_filename"]))
        self._init_device()

    def _check_values(self) -> None:
        """Ranges and choices, before RecBole's code meets them."""
        final = self.final_config_dict
        for key, least in MINIMUM.items():
            value = final.get(key)
            if isinstance(value, str):
                raise UserError(f"key `{key}`: found {value!r}, expected a number")
            if isinstance(value, (int, float)) and not value >= least:
                raise UserError(f"key `{key}`: found {value}, expected at least {least}")
        for key in ("seed", "split_seed"):
            _expect(final[key] < 2**32, key, final[key], "below 2^32")
        for key, allowed in CHOICES.items():
            _expect(str(final[key]).lower() in allowed, key, final[key], f"one of {allowed}")
        for key in ("output_dir", "valid_metric"):
            _expect(isinstance(final[key], str), key, final[key], "a text")
        path, parts = final["data_path"], final["benchmark_filename"]
        _expect(isinstance(path, (str, type(None))), "data_path", path, "a folder")
        clip = final["clip_grad_norm"]
        _expect(isinstance(clip, (dict, type(None))), "clip_grad_norm", clip, "{max_norm: ...}")
        is_list = parts is None or isinstance(parts, list)
        _expect(is_list, "benchmark_filename", parts, "a list such as [train, valid, test]")
        self._check_evaluation()

    def _check_evaluation(self) -> None:
        final = self.final_config_dict
        metrics, topk, rules = final["metrics"], final["topk"], final["eval_args"]
        metrics = [metrics] if isinstance(metrics, str) else metrics
        is_known = metrics and all(str(metric).lower() in metric_types for metric in metrics)
        _expect(is_known, "metrics", metrics, f"one or more of {', '.join(sorted(metric_types))}")
        topk = [topk] if isinstance(topk, int) else topk
        is_cut = topk and all(type(k) is int and k > 0 for k in topk)
        _expect(is_cut, "topk", topk, "positive whole numbers")
        unknown = set(rules) - set(EVAL_ARGS)
        _expect(not unknown, "eval_args", rules, f"no other keys than {', '.join(EVAL_ARGS)}")
        mode = rules.get("mode", "full")
        modes = mode.values() if isinstance(mode, dict) else [mode]
        is_mode = all(EVAL_MODE.fullmatch(str(m)) for m in modes)
        _expect(is_mode, "eval_args", rules, "mode full, labeled, or uniN or popN with N > 0")
        is_plain = {m for m in metrics if issubclass(metrics_dict[m.lower()], (LossMetric, GAUC))}
        names = {m if m in is_plain else f"{m}@{k}" for m in metrics for k in topk}
        is_measured = final["valid_metric"].lower() in {name.lower() for name in names}
        _expect(
            is_measured,
            "valid_metric",
            final["valid_metric"],
            f"`metrics` at `topk`: {sorted(names)}",
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

    def settable(self) -> dict[str, Any]:
        """The effective settings that a property file may hold, so that it repeats the run."""
        settings = {k: v for k, v in self.plain_settings().items() if k not in REFUSED}
        del settings["model"], settings["dataset"]
        return {**settings, "data_path": str(Path(self["data_path"]).parent)}


def _expect(is_met: Any, key: str, found: Any, expected: str) -> None:
    if not is_met:
        raise UserError(f"key `{key}`: found {found!r}, expected {expected}")


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
    methods: set[str] = {"", "final_config_dict"}
    with warnings.catch_warnings():  # what the source's own escapes would say
        warnings.simplefilter("ignore")
        tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and _is_config(node.value):
            keys.add(_text(node.slice))
        elif isinstance(node, ast.Compare) and _is_config(node.comparators[0]):
            keys.add(_text(node.left))
        elif isinstance(node, ast.Attribute) and _is_config(node.value):
            keys.add(node.attr)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if _is_config(node.func.value):
                methods.add(node.func.attr)
                keys.update(_text(argument) for argument in node.args[:1])
    return keys - methods


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
        path = getattr(sys.modules.get(base.__module__), "__file__", None)
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

"""What a comparison is asked for: the keys of the command, checked before anything runs."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from recbole_diffusion.base.errors import UserError, expect, refusals_of
from recbole_diffusion.evaluation.protocol import Protocol, find_protocols
from recbole_diffusion.runs.quick_start import KEYS_OF_PLACE
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.kinds import COUNT, TEXT, Kind, check_value, or_null
from recbole_diffusion.settings.property_files import properties_folder, read_properties
from recbole_diffusion.settings.registry import find_model, import_modules
from recbole_diffusion.settings.words import format_words, join_files, split_files

TESTS = ("wilcoxon", "t")
LISTS = ("models", "modules", "config_files", "baselines", "protocol", "tested_metrics")
LABEL = re.compile(r"[A-Za-z0-9][\w.+-]{0,99}")
MINUTES = Kind((int, float), 1e-6)
# Keys of the command that take other values than those of the type of their default.
KINDS = {
    "dataset": TEXT,
    "output_dir": TEXT,
    "seeds": Kind((int, list), most=10_000),
    "processes": Kind((int,), 1, 1024),
    "memory_mb": or_null(Kind((int, float), 1e-3)),
    "significance": Kind((str,), choices=TESTS),
    "tune": COUNT,
    "tune_minutes": MINUTES,
    "trial_minutes": MINUTES,
    "tune_storage": or_null(TEXT),
}


@dataclass(frozen=True)
class Request:
    """A comparison as asked for.

    Attributes:
        models: Name of a model by label, in the order asked; the label is the name itself but for
            ``LABEL=NAME``.
        dataset: Name of the data set.
        seeds: Of the runs of each model.
        config_files: Property files for all models.
        shared: Keys of runs for all models.
        own: Keys of runs by label.
        options: The keys of ``properties/compare.yaml``, the rest of them.
        protocols: Of papers, beside our own.
    """

    models: dict[str, str]
    dataset: str
    seeds: tuple[int, ...]
    config_files: tuple[str, ...]
    shared: dict[str, Any]
    own: dict[str, dict[str, Any]]
    options: dict[str, Any]
    protocols: tuple[Protocol, ...] = field(default=())

    @property
    def baselines(self) -> list[str]:
        """Labels that the others are tested against."""
        given = self.options["baselines"]
        if given is not None:
            return [label for label in self.models if label in given]
        return [label for label, name in self.models.items() if find_model(name).is_baseline]

    def overrides(self, label: str, **keys: Any) -> dict[str, Any]:
        """Keys of a run of one model, as on the command line."""
        return {**self.shared, **self.own.get(label, {}), **keys}

    def command(self, labels: Sequence[str], seeds: Sequence[int]) -> str:
        """The command that gives these cells, without where and how they run."""
        settings = {
            "models": ",".join(self._word(label) for label in labels),
            "dataset": self.dataset,
            "seeds": list(seeds),
        }
        if self.options["modules"]:
            settings["modules"] = ",".join(self.options["modules"])
        if self.config_files:
            settings["config_files"] = join_files(self.config_files)
        settings |= {k: v for k, v in self.shared.items() if k not in KEYS_OF_PLACE}
        for label in labels:
            settings |= {f"{label}.{k}": v for k, v in self.own.get(label, {}).items()}
        words = format_words({**settings, **self._changed_options()})
        return " ".join(["python run_recbole_diffusion.py compare", *words])

    def _word(self, label: str) -> str:
        name = self.models[label]
        return label if label == name else f"{label}={name}"

    def _changed_options(self) -> dict[str, Any]:
        defaults = default_options()
        told = ("tune", "tune_minutes", "trial_minutes", "protocol")
        return {
            key: ",".join(self.options[key]) if key == "protocol" else self.options[key]
            for key in told
            if self.options[key] != defaults[key] and (self.options["tune"] or key == "protocol")
        }


def default_options() -> dict[str, Any]:
    """The keys of the command and their defaults."""
    return read_properties(properties_folder() / "compare.yaml")


def read_request(
    models: str | Sequence[str] | None,
    dataset: str | None,
    config_files: str | Sequence[str] | None,
    keys: Mapping[str, Any],
) -> Request:
    """Sort the keys of a comparison into its own, those of all models and those of one.

    Raises:
        UserError: An unknown model, a name given twice, a key of a model that is not compared, or
            a value that does not fit.
    """
    given = {"models": models, "dataset": dataset, "config_files": config_files}
    given = {**{key: value for key, value in given.items() if value is not None}, **keys}
    defaults = default_options()
    options = {key: given.get(key, default) for key, default in defaults.items()}
    for key in LISTS:
        options[key] = _listed(key, defaults[key] if options[key] is None else options[key])
    for key, default in defaults.items():
        check_value("", key, options[key], default, KINDS)
    import_modules(options["modules"])
    named = _named_models(options["models"])
    own: dict[str, dict[str, Any]] = {label: {} for label in named}
    shared: dict[str, Any] = {}
    for key, value in given.items():
        label, dot, name = key.rpartition(".")
        if dot and label not in named:
            raise UserError(
                f"key `{key}`: found a key of {label!r}, expected one of {', '.join(named)}"
            )
        if name == "seed":
            raise UserError(f"key `{key}`: a comparison runs several seeds; expected key `seeds`")
        if dot and name == "output_dir":
            raise UserError(f"key `{key}`: found a folder of one model, expected one for all")
        if dot:
            own[label][name] = value
        elif key not in defaults:
            shared[key] = value
    request = Request(
        named,
        str(options["dataset"]),
        _seeds(options["seeds"]),
        tuple(options["config_files"]),
        shared,
        own,
        options,
        find_protocols(options["protocol"]),
    )
    _check_options(request)
    return request


def _listed(key: str, value: Any) -> Any:
    """A list, also of a text with commas (of files: with blanks)."""
    if isinstance(value, str):
        parts = split_files(value) if key == "config_files" else value.split(",")
        return [part.strip() for part in parts if part.strip()]
    if isinstance(value, tuple):
        return list(value)
    is_list = value is None or (
        isinstance(value, list) and all(isinstance(part, str) for part in value)
    )
    expect(is_list, key, value, "texts in a list, or in one text with commas")
    return value


def _named_models(words: Any) -> dict[str, str]:
    expect(words, "models", words, "names such as InfoDCL,LightGCN (--list_models prints all)")
    named: dict[str, str] = {}
    for word in words:
        label, equals, name = word.partition("=")
        name = name if equals else label
        find_model(name)
        is_sound = LABEL.fullmatch(label) and label not in named
        expect(is_sound, "models", word, "each name once, or LABEL=NAME with a label of its own")
        named[label] = name
    resolved = [find_model(name).key for label, name in named.items() if label == name]
    for name in resolved:
        expect(resolved.count(name) == 1, "models", words, f"{name} once")
    return named


def _seeds(value: Any) -> tuple[int, ...]:
    seeds = list(range(1, value + 1)) if isinstance(value, int) else value
    are_seeds = all(type(seed) is int and 0 <= seed < 2**32 for seed in seeds)
    is_sound = are_seeds and len(set(seeds)) == len(seeds) > 0
    expect(is_sound, "seeds", value, "a number above 0, or a list of different numbers from 0 on")
    return tuple(seeds)


def _check_options(request: Request) -> None:
    options = request.options
    expect(0 < options["alpha"] < 1, "alpha", options["alpha"], "a number between 0 and 1")
    for label in options["baselines"] or ():
        expect(label in request.models, "baselines", label, f"one of {', '.join(request.models)}")
    if options["tune"]:
        tuned_settings()
        storage = import_module("recbole_diffusion.studies.tune.storage")
        storage.check_url("tune_storage", options["tune_storage"])


def tuned_settings() -> Any:
    """The function that searches the settings of a model.

    Raises:
        UserError: It, or what it needs, is not installed.
    """
    with refusals_of("key `tune`: leave it out, or install what is missing", ImportError):
        return import_module("recbole_diffusion.studies.tune.study").tuned_settings


def search_space(config: Config, pinned: Iterable[str]) -> dict[str, Any]:
    """The search space of a model as plain values, by key.

    Args:
        config: Its settings.
        pinned: Keys that are not searched.

    Raises:
        UserError: A bad space.
    """
    space = import_module("recbole_diffusion.studies.tune.space").read_space(config, pinned=pinned)
    return {key: dimension.plain() for key, dimension in space.items()}

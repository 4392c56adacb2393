"""Search spaces: what each key of a model may be, read from a property file and checked."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from optuna.trial import Trial
from recbole.utils.argument_list import dataset_arguments

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.item_features import feature_names
from recbole_diffusion.settings.keys import check_layer, check_values
from recbole_diffusion.settings.property_files import (
    find_property_file,
    properties_folder,
    read_properties,
    shipped_name,
)
from recbole_diffusion.settings.recency import check_recency, has_times, is_held_out_later

# Keys by which trials would differ in data, measure or place, and not in the model.
KEPT = (
    *dataset_arguments,  # RecBole's: which files, columns and rows are read
    "data_path",
    "encoding",
    "eval_args",
    "eval_step",
    "gpu_id",
    "keep_cold_items",
    "metrics",
    "output_dir",
    "seed",
    "show_progress",
    "split_seed",
    "state",
    "topk",
    "train_noise_ratio",
    "use_gpu",
    "valid_metric",
)
FORMS = "{log: [low, high]}, {range: [low, high]}, {range: [low, high, step]} or {choice: [...]}"


@dataclass(frozen=True)
class Dimension:
    """What one key may be.

    Attributes:
        form: "log", "range" or "choice".
        values: Both ends, with a step for some ranges; or the choices.
        is_whole: Whether only whole numbers lie between the ends.
    """

    form: str
    values: tuple[Any, ...]
    is_whole: bool = False

    def suggest(self, trial: Trial, key: str) -> Any:
        """A setting, by Optuna's sampler; a choice that is a list or dict stands there as JSON."""
        if self.form == "choice":
            encoded = [self.encode(value) for value in self.values]
            return self.values[encoded.index(trial.suggest_categorical(key, encoded))]
        low, high, *step = self.values
        is_log = self.form == "log"
        if self.is_whole:
            return trial.suggest_int(key, low, high, log=is_log, step=(step or [1])[0])
        return trial.suggest_float(key, low, high, log=is_log, step=(step or [None])[0])

    def encode(self, value: Any) -> Any:
        """A setting as Optuna's parameter."""
        return json.dumps(value) if isinstance(value, (list, dict)) else value

    def holds(self, value: Any) -> bool:
        """Whether a setting lies in it."""
        if self.form == "choice":
            return value in self.values
        low, high, *step = self.values
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        is_kept = not (self.is_whole and value != int(value))
        on_grid = not step or abs((value - low) / step[0] - round((value - low) / step[0])) < 1e-9
        return bool(low <= value <= high and is_kept and on_grid)

    def plain(self) -> dict[str, list[Any]]:
        """As it stands in a property file."""
        return {self.form: list(self.values)}


Space = dict[str, Dimension]


def read_space(config: Config, file: str | None = None, pinned: Iterable[str] = ()) -> Space:
    """The search space of a model.

    Args:
        config: Settings of the model without what is searched.
        file: A property file of the user's; None reads ``search/<model>.yaml`` of the package, and
            gives an empty space if that has none.
        pinned: Keys that the user has set, which are not searched.

    Returns:
        A dimension for each key, in the file's order; without those that change nothing here.

    Raises:
        UserError: A key that the model does not read or that must not differ between trials, a
            form that is none, or a value that the key cannot take.
    """
    path = properties_folder() / "search" / f"{shipped_name(config.registration)}.yaml"
    if file is not None:
        path = find_property_file(file, "space")
    if not path.is_file():
        return {}
    content = read_properties(path)
    if not content:
        raise UserError(f"search space {path}: found no key, expected one or more as {FORMS}")
    space = {key: _dimension(path, key, form, config) for key, form in content.items()}
    left_out = {*pinned, *_idle(config, space.keys() - set(pinned))}
    return {key: dimension for key, dimension in space.items() if key not in left_out}


def _idle(config: Config, searched: Iterable[str]) -> set[str]:
    """Keys that change nothing on these data, or beside the settings that are not searched."""
    idle = set() if feature_names(config) else {"feature_weights"}
    if "steps" not in searched and config["steps"] == 1:
        idle.add("step_ratio")
    if "recency" not in searched and not _weighs_by_age(config):
        idle.add("recency_decay")
    for key, value, silent in getattr(config.model_class, "idle_keys", ()):
        if key not in searched and config[key] == value:
            idle |= set(silent)
    return idle


def _weighs_by_age(config: Config) -> bool:
    kind = config["recency"]
    return has_times(config) and (kind != "none" if kind != "auto" else is_held_out_later(config))


def _dimension(path: Path, key: str, form: Any, config: Config) -> Dimension:
    source = f"search space {path}"
    defaults = config.internal_config_dict
    if key in KEPT:
        raise UserError(f"{source}: key `{key}` must be the same in all trials")
    if key not in defaults:
        near = get_close_matches(key, defaults, n=1, cutoff=0.6)
        hint = f"; did you mean `{near[0]}`?" if near else ""
        raise UserError(f"{source}: key `{key}` is none of {config.model}'s{hint}")
    is_form = isinstance(form, Mapping) and len(form) == 1
    kind, values = next(iter(form.items())) if is_form else ("", None)
    if kind not in ("log", "range", "choice") or not isinstance(values, list) or not values:
        raise UserError(f"{source}: key `{key}`: found {form!r}, expected {FORMS}")
    for value in values if kind == "choice" else values[:2]:
        check_setting(source, key, value, config)
    if kind != "choice":
        _check_ends(source, key, kind, values)
    is_whole = all(type(v) is int for v in values) and not isinstance(defaults[key], float)
    if kind == "choice" or is_whole:
        return Dimension(kind, tuple(values), is_whole and kind != "choice")
    return Dimension(kind, tuple(float(value) for value in values))


def check_setting(source: str, key: str, value: Any, config: Config) -> None:
    """Check that a key can take a value, beside all others as they are.

    Raises:
        UserError: It cannot; the message begins with ``source``.
    """
    defaults = config.internal_config_dict
    check_layer(source, {key: value}, defaults, config.registration.kinds)
    try:
        settings = {**defaults, **config.external_config_dict, key: value}
        check_values(settings, config.registration.kinds)
        if key == "recency_decay":
            check_recency(settings)
    except UserError as error:
        raise UserError(f"{source}: {error}") from error


def _check_ends(source: str, key: str, kind: str, values: list[Any]) -> None:
    is_number = all(type(value) in (int, float) for value in values)
    n_values = (2, 3) if kind == "range" else (2,)
    if not (is_number and len(values) in n_values and values[0] < values[1]):
        raise UserError(f"{source}: key `{key}`: found {kind} {values}, expected {FORMS}")
    if kind == "log" and values[0] <= 0:
        raise UserError(f"{source}: key `{key}`: found log {values}, expected ends above 0")
    if len(values) == 3 and not (values[2] > 0 and _steps_fit(*values)):
        raise UserError(f"{source}: key `{key}`: found range {values}, expected a step that fits")


def _steps_fit(low: float, high: float, step: float) -> bool:
    return abs((high - low) / step - round((high - low) / step)) < 1e-9

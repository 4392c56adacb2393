"""What a comparison is asked for: the keys of the command, checked before anything runs."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from recbole_diffusion.base.errors import UnreadKey, UserError, expect
from recbole_diffusion.evaluation.protocol import Protocol, find_protocols
from recbole_diffusion.settings.kinds import check_value
from recbole_diffusion.settings.layers import read_layers
from recbole_diffusion.settings.registry import Registration, find_model, import_modules
from recbole_diffusion.settings.run_settings import KEYS_OF_PLACE
from recbole_diffusion.settings.unread import given_keys, unread_keys
from recbole_diffusion.settings.words import (
    format_word,
    format_words,
    join_files,
    own_command,
    split_files,
)
from recbole_diffusion.studies.compare.settings import CompareSettings

LISTS = ("models", "modules", "config_files", "baselines", "protocol", "tested_metrics")
LABEL = re.compile(r"[A-Za-z0-9][\w.+-]{0,99}")


@dataclass(frozen=True)
class ComparedModel:
    """A row of a comparison.

    Attributes:
        label: The model's name, or what stands before it in ``LABEL=NAME``.
        name: Of the model.
        registration: Of the model.
        keys: Of runs of this row alone.
    """

    label: str
    name: str
    registration: Registration
    keys: dict[str, Any]

    @property
    def word(self) -> str:
        """As the key ``models`` has it."""
        return self.label if self.label == self.name else f"{self.label}={self.name}"


@dataclass(frozen=True)
class Request:
    """A comparison as asked for.

    Attributes:
        settings: The command's own keys.
        models: By label, in the order asked.
        seeds: Of the runs of each model.
        keys: Of runs of all models.
        protocols: Of papers, beside our own.
    """

    settings: CompareSettings
    models: dict[str, ComparedModel]
    seeds: tuple[int, ...]
    keys: dict[str, Any]
    protocols: tuple[Protocol, ...]

    @property
    def baselines(self) -> list[str]:
        """Labels that the others are tested against."""
        chosen = self.settings.baselines
        if chosen is not None:
            return [label for label in self.models if label in chosen]
        return [label for label, model in self.models.items() if model.registration.is_baseline]

    def run_keys(self, label: str, **others: Any) -> dict[str, Any]:
        """Keys of a run of one model, as on the command line."""
        return {**self.keys, **self.models[label].keys, **others}

    def command(self, labels: Sequence[str], seeds: Sequence[int]) -> str:
        """The command that gives these cells, without where and how they run."""
        models, settings = [self.models[label] for label in labels], self.settings
        keys: dict[str, Any] = {
            "models": ",".join(model.word for model in models),
            "dataset": settings.dataset,
            "seeds": list(seeds),
        }
        if settings.modules:
            keys["modules"] = ",".join(settings.modules)
        if settings.config_files:
            keys["config_files"] = join_files(settings.config_files)
        keys |= {key: value for key, value in self.keys.items() if key not in KEYS_OF_PLACE}
        for model in models:
            keys |= {f"{model.label}.{key}": value for key, value in model.keys.items()}
        words = format_words({**keys, **self._changed_settings()})
        return " ".join([own_command(), "compare", *words])

    def _changed_settings(self) -> dict[str, Any]:
        """Of what a result hangs on, what is not as by default."""
        keys = ("tune", "tune_minutes", "trial_minutes") if self.settings.tune else ()
        defaults = CompareSettings.keys()
        values = {key: getattr(self.settings, key) for key in keys}
        changed = {key: value for key, value in values.items() if value != defaults[key].default}
        if self.settings.protocol:
            changed["protocol"] = ",".join(self.settings.protocol)
        return changed


def read_request(keys: Mapping[str, Any]) -> Request:
    """Sort the keys of a comparison into its own, those of all models and those of one.

    Args:
        keys: Of ``CompareSettings``, of runs, and ``LABEL.key`` of one model's runs.

    Raises:
        UserError: An unknown model, a name given twice, a key that nothing reads or of a model that
            is not compared, or a value that does not fit.
    """
    known = CompareSettings.keys()
    values = {name: keys.get(name, key.default) for name, key in known.items()}
    for name in LISTS:
        values[name] = _as_list(name, known[name].default if values[name] is None else values[name])
    for name, one in known.items():
        check_value("", name, values[name], one.default, {name: one.kind})
    settings = CompareSettings(values)
    import_modules(settings.modules)
    models = _read_models(settings.models)
    for key, value in keys.items():
        label, dot, name = key.rpartition(".")
        if dot and label not in models:
            raise UserError(
                f"key `{key}`: found a key of {label!r}, expected one of {', '.join(models)}"
            )
        if name == "seed":
            raise UserError(f"key `{key}`: a comparison runs several seeds; expected key `seeds`")
        if dot and name == "output_dir":
            raise UserError(f"key `{key}`: found a folder of one model, expected one for all")
        if dot:
            models[label].keys[name] = value
    for label in settings.baselines or ():
        expect(label in models, "baselines", label, f"one of {', '.join(models)}")
    return Request(
        settings,
        models,
        _read_seeds(settings.seeds),
        {key: value for key, value in keys.items() if "." not in key and key not in known},
        find_protocols(settings.protocol),
    )


def _as_list(key: str, value: Any) -> Any:
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


def _read_models(models: Sequence[str] | None) -> dict[str, ComparedModel]:
    """The rows by label, yet without keys."""
    if not models:
        expect(False, "models", models, "names such as InfoDCL,LightGCN (--list_models prints all)")
    compared: dict[str, ComparedModel] = {}
    for word in models or ():
        label, equals, name = word.partition("=")
        model = ComparedModel(label, name if equals else label, find_model(name or label), {})
        is_sound = LABEL.fullmatch(label) and label not in compared
        expect(is_sound, "models", word, "each name once, or LABEL=NAME with a label of its own")
        compared[label] = model
    plain = [m.registration.key for m in compared.values() if m.label == m.name]
    for name in plain:
        expect(plain.count(name) == 1, "models", models, f"{name} once")
    return compared


def _read_seeds(seeds: int | list[int]) -> tuple[int, ...]:
    listed = list(range(1, seeds + 1)) if isinstance(seeds, int) else seeds
    are_seeds = all(type(seed) is int and 0 <= seed < 2**32 for seed in listed)
    is_sound = are_seeds and len(set(listed)) == len(listed) > 0
    expect(is_sound, "seeds", seeds, "a number above 0, or a list of different numbers from 0 on")
    return tuple(listed)


def check_run_keys(request: Request) -> None:
    """Check the keys of runs, model by model.

    Raises:
        UserError: A key that a model does not read, or a value that does not fit.
    """
    for label in request.models:
        try:
            _check_keys_of(request, label)
        except UnreadKey as error:
            raise UserError(f"{error}{_advice_on_unread(request, error.key)}") from error


def _check_keys_of(request: Request, label: str) -> None:
    registration, settings = request.models[label].registration, request.settings
    with naming_label(label):
        read_layers(registration, settings.dataset, settings.config_files, request.run_keys(label))


@contextmanager
def naming_label(label: str) -> Iterator[None]:
    """What is refused inside is told with the label of its model.

    Raises:
        UserError: In place of one without the label.
    """
    try:
        yield
    except UnreadKey as error:
        raise UnreadKey(f"{label}: {error}", error.key) from error
    except UserError as error:
        raise UserError(f"{label}: {error}") from error


def _advice_on_unread(request: Request, key: str) -> str:
    """How to give a key of all models to those that read it; nothing where none does."""
    if key not in request.keys:
        return ""
    words = []
    for label in request.models:
        with suppress(UserError):
            _check_keys_of(request, label)
            words.append(format_word(f"{label}.{key}", request.keys[key]))
    shared = format_word(key, request.keys[key])
    return f"; type {' '.join(words)} in place of {shared}" if words else ""


def told_unread(request: Request) -> list[str]:
    """A line for each key that nothing reads: of all models, or of the one that it is given for."""
    models = request.models.values()
    unread = given_keys(request.settings.config_files, request.keys)
    for model in models:
        unread = unread_keys(model.registration, unread)
    names = f"none of {', '.join(request.models)} reads it"
    lines = [f"key `{key}`: {names}" for key in unread]
    for model in models:
        keys = unread_keys(model.registration, model.keys)
        lines += [f"key `{model.label}.{key}`: {model.name} does not read it" for key in keys]
    return lines

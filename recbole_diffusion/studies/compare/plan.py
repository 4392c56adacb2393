"""The cells of a comparison: one run for each model and seed, with its settings and cache key."""

import hashlib
import json
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

import recbole

from recbole_diffusion.base.errors import PACKAGE, DamagedFile, UserError
from recbole_diffusion.base.files import read_json
from recbole_diffusion.base.log import run_logger
from recbole_diffusion.base.version import __version__, digest_of_files, source_digest
from recbole_diffusion.data.split import load_split
from recbole_diffusion.evaluation.per_user import PER_USER, RANKING_TABLES, TRAIN_MASKED
from recbole_diffusion.host.patch import host_arguments
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.property_files import find_property_file
from recbole_diffusion.settings.run_settings import KEYS_WITHOUT_EFFECT
from recbole_diffusion.studies.compare.request import Request, naming_label
from recbole_diffusion.studies.jobs.process import TASK, read_failure

# Settings of the data beside RecBole's own list.
DATA_KEYS = ("eval_args", "split_seed", "train_noise_ratio", "keep_cold_items")
SAME_FOR_ALL = (
    *("eval_args", "metrics", "topk", "valid_metric", "train_noise_ratio", "keep_cold_items"),
)
RESULT = "result.json"
# Names of cells and searches: a label, perhaps a seed, and a key.
KEYED = re.compile(r"(.*-)[0-9a-f]{12}(-on-test)?")


@dataclass(frozen=True)
class Data:
    """What all cells share, as ``Split`` has it."""

    users: int
    items: int
    sizes: dict[str, int]
    split_hash: str
    data_hash: str

    def as_dict(self) -> dict[str, Any]:
        """For ``results.json``."""
        return {
            "users": self.users,
            "items": self.items,
            **{f"{part}_interactions": size for part, size in self.sizes.items()},
            "split_hash": self.split_hash,
            "data_hash": self.data_hash,
        }


@dataclass(frozen=True, eq=False)
class Cell:
    """One run of a comparison.

    Attributes:
        label: Of its model in the comparison.
        model: Name that ``find_model`` resolves.
        seed: Of the run.
        settings: Effective, as ``Config.settable`` gives them.
        key: Hash of all that its result hangs on.
        folder: Of the run.
        selects_on_test: Whether it is a run of a protocol that does so.
    """

    label: str
    model: str
    seed: int
    settings: dict[str, Any]
    key: str
    folder: Path
    selects_on_test: bool = False

    @property
    def name(self) -> str:
        """For messages."""
        on_test = ", best epoch picked on test" if self.selects_on_test else ""
        return f"{self.label}, seed {self.seed}{on_test}"

    @property
    def is_finished(self) -> bool:
        """Whether all files of its evaluation are there."""
        return is_finished(self.folder)

    def lacks(self, with_train_masked: bool) -> bool:
        """Whether a job has something to do for it."""
        has_all = not with_train_masked or (self.folder / TRAIN_MASKED).is_file()
        return not (self.is_finished and has_all)

    def failure(self) -> str | None:
        """Why it failed, on one line; None where it did not."""
        return read_failure(self.folder)

    def set_aside(self) -> Path:
        """Rename its folder, so that it can be run again and nothing is lost; gives the new one."""
        for number in count(1):
            target = self.folder.with_name(f"{self.folder.name}.damaged-{number}")
            if not target.exists():
                break
        return self.folder.rename(target)


def is_finished(folder: Path) -> bool:
    """Whether all files of a cell's evaluation are there."""
    return all((folder / name).is_file() for name in (RESULT, PER_USER, *RANKING_TABLES))


def comparison_folder(request: Request) -> Path:
    """Where a comparison lies: named by its data set and the keys of all models.

    Models, seeds, trials and protocols are left out, so that a later command adds to a folder.
    """
    settings = request.settings
    files = [find_property_file(name).read_text(encoding="utf-8") for name in settings.config_files]
    digest = _digest([settings.dataset, files, _with_effect(request.keys)])
    return Path(settings.output_dir) / f"{settings.dataset}-{digest[:8]}"


def make_config(
    request: Request, label: str, cache: Path, tuned: Mapping[str, Any] | None = None
) -> Config:
    """The settings of one model.

    Args:
        request: What is asked for.
        label: Of the model.
        cache: ``output_dir`` of the runs, whose ``cache`` they share.
        tuned: Settings that a search found.

    Raises:
        UserError: What ``Config`` refuses, with the label.
    """
    place = {"output_dir": str(cache), "show_progress": False}
    model, settings = request.models[label], request.settings
    keys = {**request.run_keys(label), **(tuned or {}), **place}
    with naming_label(label):
        return Config(model.name, settings.dataset, settings.config_files, keys)


def make_configs(request: Request, cache: Path) -> dict[str, Config]:
    """The settings of each model before any search, by label; the same evaluation for all.

    Args:
        request: What is asked for.
        cache: As ``make_config`` has it.

    Raises:
        UserError: What ``make_config`` refuses, or evaluations that differ.
    """
    configs = {label: make_config(request, label, cache) for label in request.models}
    first = next(iter(configs))
    for label, config in configs.items():
        for key in SAME_FOR_ALL:
            if config[key] != configs[first][key]:
                raise UserError(
                    f"key `{key}`: found {config[key]!r} for {label} and {configs[first][key]!r} "
                    f"for {first}; expected the same for all, as --{key}=..."
                )
    return configs


def read_data(configs: Mapping[str, Config]) -> Data:
    """Load the split once for each set of data keys, and check that all are the same.

    Raises:
        UserError: Bad data, or two models that would not have the same split.
    """
    found: dict[str, Data] = {}
    labels: dict[str, str] = {}
    for label, config in configs.items():
        keys = [*host_arguments()["dataset_arguments"], *DATA_KEYS]
        wanted = _digest({key: config[key] for key in keys} | {"path": config["data_path"]})
        if wanted not in found:
            found[wanted], labels[wanted] = _load(config), label
    first, *others = found
    for other in others:
        if found[other].split_hash != found[first].split_hash:
            raise UserError(
                f"{labels[other]} and {labels[first]} would not have the same split: found "
                f"{found[other].split_hash} and {found[first].split_hash}; expected the same keys "
                "of the data for all models"
            )
    return found[first]


def _load(config: Config) -> Data:
    with run_logger(None, "error"):
        split = load_split(config)
    data = split.dataset
    sizes = {name: int(size) for name, size in split.sizes.items()}
    return Data(data.user_num - 1, data.item_num - 1, sizes, split.digest, split.data_digest)


def make_cells(
    request: Request, configs: Mapping[str, Config], data: Data, folder: Path
) -> list[Cell]:
    """All cells: model by model, each seed, then those that protocols select on test.

    Args:
        request: What is asked for.
        configs: Settings by label.
        data: That all share.
        folder: Of the comparison.
    """
    is_on_test = any(protocol.selects_on_test for protocol in request.protocols)
    return [
        _cell(configs[label], label, seed, data, folder, selects_on_test)
        for selects_on_test in ((False, True) if is_on_test else (False,))
        for label in configs
        for seed in request.seeds
    ]


def _cell(
    config: Config, label: str, seed: int, data: Data, folder: Path, selects_on_test: bool
) -> Cell:
    settings = {**config.settable(), "seed": seed}
    name = config.registration.key
    key = _digest([name, _with_effect(settings), *_made_of(config, data), selects_on_test])[:12]
    suffix = "-on-test" if selects_on_test else ""
    path = folder / "runs" / f"{_as_file_name(label)}-seed{seed}-{key}{suffix}"
    return Cell(label, name, seed, settings, key, path.resolve(), selects_on_test)


def search_folder(request: Request, label: str, config: Config, data: Data, folder: Path) -> Path:
    """Where the search for a model's settings lies: named by all that its trials hang on.

    Args:
        request: What is asked for.
        label: Of the model.
        config: Its settings before the search.
        data: That all share.
        folder: Of the comparison.

    Raises:
        UserError: A bad search space.
    """
    space = search_space(config, request.run_keys(label))
    searched = [config.registration.key, _with_effect(config.settable()), space]
    key = _digest([*searched, request.settings.trial_minutes, *_made_of(config, data)])[:12]
    return folder / "tuning" / f"{_as_file_name(label)}-{key}"


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


def _with_effect(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in KEYS_WITHOUT_EFFECT}


def _made_of(config: Config, data: Data) -> list[str]:
    """What results hang on beside settings."""
    return [data.split_hash, data.data_hash, code_of(config)]


def code_of(config: Config) -> str:
    """What computes a model's results: ``code_version``, and the user's module of its class."""
    name = config.model_class.__module__
    file = getattr(sys.modules.get(name), "__file__", None)
    if name.startswith(("recbole.", "recbole_diffusion.")) or file is None:
        return code_version()
    return f"{code_version()}, {name} ({digest_of_files(Path(file).parent, [Path(file)])})"


def code_version() -> str:
    """Versions of what computes: a finished cell of another one is run again."""
    own = f"recbole_diffusion {__version__} ({source_digest(PACKAGE)})"
    return f"{own}, recbole {recbole.__version__}"


def of_other_code(folder: Path, task: Mapping[str, Any]) -> Path | None:
    """Where another version of the code did the same work; None where none did.

    Args:
        folder: Of a cell or search.
        task: As ``job.json`` in there would have it.
    """
    parts = KEYED.fullmatch(folder.name)
    for path in sorted(folder.parent.glob(f"*/{TASK}")):
        other = KEYED.fullmatch(path.parent.name)
        if not parts or not other or parts.groups() != other.groups():
            continue
        with suppress(DamagedFile):  # it is written anew with every job
            earlier = read_json(path)
            if earlier.get("code") != task["code"] and _asks_the_same(earlier, task):
                return path.parent
    return None


def _asks_the_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two tasks are of the same settings; keys that one version lacks do not count."""
    first, second = (
        _with_effect(task.get("settings", task.get("config_dict", {}))) for task in (one, other)
    )
    shared = first.keys() & second.keys()
    return _digest({k: first[k] for k in shared}) == _digest({k: second[k] for k in shared})


def _as_file_name(label: str) -> str:
    return re.sub(r"[^\w.+-]", "_", label)


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()

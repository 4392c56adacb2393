"""What a search is asked for, and the marks by which its study is known again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.study import StudyDirection

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.randomness import seed_everything
from recbole_diffusion.data.split import load_split
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.kinds import Kind, check_value, or_null
from recbole_diffusion.settings.property_files import find_property_file, read_properties
from recbole_diffusion.settings.run_settings import KEYS_OF_PLACE, KEYS_WITHOUT_EFFECT
from recbole_diffusion.studies.tune.space import Space

# Settings that change where a run is and what it shows, and no result.
PLACE = (*KEYS_OF_PLACE, "output_dir")


@dataclass(frozen=True)
class Task:
    """A search: of which model, on what, within which budget.

    Attributes:
        config: Effective settings before anything is searched.
        files: The user's property files.
        keys: The user's keys above them.
        space: What is searched.
        grid: Parameters of each trial, for a grid; empty for a search.
        seed: Of the search.
        n_trials: Finished trials, of all processes together.
        minutes: Of the finished trials together; None: no limit.
        trial_minutes: After which a trial ends at its best validation so far.
        folder: Of the study.
        split_hash: Of the split that all trials share.
        data_hash: Of its columns.
    """

    config: Config
    files: Sequence[str]
    keys: Mapping[str, Any]
    space: Space
    grid: Sequence[Mapping[str, Any]]
    seed: int
    n_trials: int
    minutes: float | None
    trial_minutes: float
    folder: Path
    split_hash: str
    data_hash: str

    @property
    def valid_metric(self) -> str:
        """As results name it, such as ``recall@20``."""
        return str(self.config["valid_metric"]).lower()

    @property
    def direction(self) -> StudyDirection:
        """Of the validation score."""
        is_bigger = self.config["valid_metric_bigger"]
        return StudyDirection.MAXIMIZE if is_bigger else StudyDirection.MINIMIZE

    def defaults(self) -> dict[str, Any]:
        """What the searched keys are before the search."""
        return {key: self.config[key] for key in self.space}

    def user_layer(self) -> dict[str, Any]:
        """What the user's files and keys set, places apart."""
        layers = [read_properties(find_property_file(file)) for file in self.files]
        merged: dict[str, Any] = {}
        for layer in (*layers, self.keys):
            merged.update(layer)
        return {key: value for key, value in merged.items() if key not in PLACE}

    def identity(self) -> dict[str, Any]:
        """All that must be equal for trials to stand in one study."""
        settings = self.config.settable().items()
        kept = {key: value for key, value in settings if key not in KEYS_WITHOUT_EFFECT}
        return {
            "model": self.config.registration.key,
            "dataset": self.config.dataset,
            "split_hash": self.split_hash,
            "data_hash": self.data_hash,
            "space": {key: dimension.plain() for key, dimension in self.space.items()},
            "grid": [dict(point) for point in self.grid],
            "seed": self.seed,
            "trial_minutes": self.trial_minutes,
            "settings": kept,
        }


def check_budget(n_trials: Any, minutes: Any, trial_minutes: Any) -> None:
    """Check what a search may spend.

    Raises:
        UserError: No whole number of trials above 0, or no minutes above 0.
    """
    minutes_above_0 = Kind((int, float), 1e-6)
    kinds = {
        "trials": Kind((int,), 1),
        "minutes": or_null(minutes_above_0),
        "trial_minutes": minutes_above_0,
    }
    found = {"trials": n_trials, "minutes": minutes, "trial_minutes": trial_minutes}
    for key, value in found.items():
        check_value("", key, value, None, kinds)


def hashes_of(config: Config) -> tuple[str, str]:
    """Hashes of a run's split, and of its data."""
    seed_everything(config["seed"])
    split = load_split(config)
    return split.digest, split.data_digest


def check_identity(where: str, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Refuse a study of another search.

    Args:
        where: The study, for the message.
        found: Its marks.
        expected: Those of this search.

    Raises:
        UserError: The first mark that differs.
    """
    expected = json.loads(json.dumps(expected))  # as they would be read back
    for key, value in expected.items():
        other = found.get(key)
        if other == value:
            continue
        if isinstance(value, dict) and isinstance(other, dict):
            names = [name for name in {**value, **other} if value.get(name) != other.get(name)]
            key, value, other = f"{key}.{names[0]}", value.get(names[0]), other.get(names[0])
        raise UserError(
            f"{where} is of another search: found {key} {other!r}, this one has {value!r}; "
            "give another folder (or study_name)"
        )

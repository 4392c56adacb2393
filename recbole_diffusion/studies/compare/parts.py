"""What the tables take of each finished cell: read, checked and computed once."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from recbole_diffusion.base.errors import DamagedFile
from recbole_diffusion.base.files import read_json
from recbole_diffusion.evaluation.groups import beyond_accuracy, by_activity
from recbole_diffusion.evaluation.per_user import PER_USER, TRAIN_MASKED, read_frame
from recbole_diffusion.evaluation.protocol import Protocol
from recbole_diffusion.studies.compare.plan import RESULT, Cell

COSTS = (
    "train_seconds_per_epoch",
    "epochs_trained",
    "setup_seconds",
    "pretrain_seconds",
    "valid_seconds",
    "test_seconds",
    "parameters",
    "peak_memory_mb",
)
# Costs that runs have by a key.
OPTIONAL_COSTS = ("energy_kwh",)
RESULT_KEYS = ("best_epoch", "split_hash", "valid", "test", "environment", *COSTS)


@dataclass(frozen=True)
class Part:
    """Of one cell.

    Attributes:
        result: Its ``result.json``.
        beyond: As ``beyond_accuracy`` has it.
        activity: As ``by_activity`` has it.
    """

    result: dict[str, Any]
    beyond: dict[str, Any]
    activity: dict[str, list[dict[str, Any]]]


class Parts:
    """The parts of a comparison's cells, and why some have none.

    Args:
        metrics: That each user has.
        cutoffs: Lengths of the lists.
        protocols: Of papers.
        n_users: Those without test items included.
    """

    def __init__(
        self,
        metrics: Sequence[str],
        cutoffs: Sequence[int],
        protocols: Sequence[Protocol],
        n_users: int,
    ) -> None:
        self._metrics, self._cutoffs = metrics, cutoffs
        self._protocols, self._n_users = protocols, n_users
        self._parts: dict[Path, Part] = {}
        self._means: dict[tuple[Path, str], dict[str, float]] = {}
        self._damage: dict[Path, str] = {}

    def of(self, cell: Cell) -> Part | None:
        """The part of a finished cell; None for another one, or a damaged one, which is told."""
        return self._part(cell) if self.damage(cell) is None else None

    def damage(self, cell: Cell) -> str | None:
        """Which file of a finished cell cannot be read, on one line; None where all can."""
        if cell.folder not in self._damage:
            try:
                self._part(cell)
                self.means(cell)
            except DamagedFile as error:
                self._tell(cell, error)
        return self._damage.get(cell.folder)

    def trouble(self, cell: Cell) -> str | None:
        """Why a cell failed, or is damaged; None where neither is so."""
        return self.damage(cell) or cell.failure()

    def forget(self, cell: Cell) -> None:
        """Look again at a cell whose files have been set aside."""
        self._damage.pop(cell.folder, None)
        self._parts.pop(cell.folder, None)
        self._means = {key: means for key, means in self._means.items() if key[0] != cell.folder}

    def frames(self, cells: Sequence[Cell]) -> dict[Cell, pd.DataFrame]:
        """What each user got, by cell; of finished cells that can be read."""
        found = {}
        for cell in cells:
            if self.of(cell) is not None:
                try:
                    found[cell] = self._frame(cell, PER_USER)
                except DamagedFile as error:
                    self._tell(cell, error)
        return found

    def means(self, cell: Cell) -> dict[str, dict[str, float]]:
        """Averages by the name of each protocol that the cell has an evaluation for."""
        protocols = [p for p in self._protocols if p.selects_on_test == cell.selects_on_test]
        if not cell.is_finished:
            return {}
        for protocol in protocols:
            file = TRAIN_MASKED if protocol.masks_train_only else PER_USER
            key = (cell.folder, protocol.name)
            if key not in self._means and (cell.folder / file).is_file():
                frame = self._frame(cell, file)
                self._means[key] = protocol.means(frame, self._metrics, self._n_users)
        keys = {protocol.name: (cell.folder, protocol.name) for protocol in protocols}
        return {name: self._means[key] for name, key in keys.items() if key in self._means}

    def _part(self, cell: Cell) -> Part | None:
        if cell.is_finished and cell.folder not in self._parts:
            self._parts[cell.folder] = Part(
                _checked(cell.folder / RESULT, self._metrics),
                beyond_accuracy(cell.folder, self._cutoffs),
                by_activity(self._frame(cell, PER_USER), self._metrics),
            )
        return self._parts.get(cell.folder) if cell.is_finished else None

    def _frame(self, cell: Cell, name: str) -> pd.DataFrame:
        return read_frame(cell.folder / name, "user_id", "n_train", *self._metrics)

    def _tell(self, cell: Cell, error: DamagedFile) -> None:
        place = str(error).replace(str(cell.folder), f"runs/{cell.folder.name}")
        self._damage[cell.folder] = f"{place}; --retry_failed=true runs it again"
        logging.getLogger().error(f"{cell.name}: {self._damage[cell.folder]}")


def _checked(path: Path, metrics: Sequence[str]) -> dict[str, Any]:
    """A ``result.json`` with numbers where the tables need some.

    Raises:
        DamagedFile: It has none there.
    """
    result = read_json(path, *RESULT_KEYS)
    for part in ("valid", "test"):
        scores = result[part]
        has_all = isinstance(scores, Mapping) and all(_is_number(scores.get(m)) for m in metrics)
        if not has_all:
            raise DamagedFile(f"{path}: found {part} {scores!r}, expected {', '.join(metrics)}")
    for name in (*COSTS, *(name for name in OPTIONAL_COSTS if name in result)):
        if result[name] is not None and not _is_number(result[name]):
            raise DamagedFile(f"{path}: found {name} {result[name]!r}, expected a number")
    return result


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and not math.isnan(value)

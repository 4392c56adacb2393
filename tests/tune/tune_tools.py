"""Searches whose runs cost nothing, and a worker of a shared study."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recbole_diffusion.base.files import SCRATCH_MARK
from recbole_diffusion.runs.run import StopRun
from recbole_diffusion.studies.tune import trial
from recbole_diffusion.studies.tune.search import Tuned
from recbole_diffusion.studies.tune.study import tuned_settings

DATASETS = Path(__file__).resolve().parents[2] / "dataset_atomic"
SPACE = "reg_weight: {log: [1e-6, 1e-1]}\nlearning_rate: {log: [1e-4, 1e-1]}\n"
# The best that the runs below can do.
OPTIMUM = {"reg_weight": 0.002, "learning_rate": 0.01}


def score_of(keys: dict[str, Any]) -> float:
    """1 at the optimum, and less by the square of the distance in decades."""
    found = {key: (keys[key], best) for key, best in OPTIMUM.items() if key in keys}
    return 1 - sum(math.log10(value / best) ** 2 for value, best in found.values()) / 20


class FakeRun:
    """In place of ``run_recbole_diffusion``: one validation with the score of the settings.

    Args:
        before: Called with the settings before anything else.
        epochs: Number of validations; the score grows to its end linearly.
    """

    def __init__(self, before: Callable[[Any], None] = lambda keys: None, epochs: int = 1) -> None:
        self.seen: list[dict[str, Any]] = []
        self._before, self._epochs = before, epochs

    def __call__(
        self,
        model: str,
        dataset: str,
        files: Any,
        keys: dict[str, Any],
        *,
        on_validation: Callable[[int, float], None],
        with_test: bool,
        run_folder: Path,
    ) -> dict[str, Any]:
        assert not with_test
        self.seen.append({key: keys.get(key) for key in OPTIMUM})
        assert [path.name for path in run_folder.iterdir()] == [SCRATCH_MARK]
        (run_folder / "best.pth").write_text("weights")
        self._before(keys)
        stopped, best, epoch = None, 0.0, -1
        try:
            for epoch in range(self._epochs):
                best = score_of(keys) * (epoch + 1) / self._epochs
                on_validation(epoch, best)
        except StopRun as reason:
            stopped = str(reason)
        return {
            "valid": {"recall@20": best},
            "best_epoch": epoch,
            "epochs_trained": epoch + 1,
            "stopped": stopped,
            "split_hash": "25306dd7df22f1dc",
        }


def search(folder: Path, n_trials: int = 8, **options: Any) -> Tuned:
    """A search on the planted set over ``SPACE``."""
    if not (folder.parent / "space.yaml").is_file():
        (folder.parent / "space.yaml").write_text(SPACE)
    keys = {"data_path": str(DATASETS), "show_progress": False, **options.pop("keys", {})}
    space = options.pop("space", str(folder.parent / "space.yaml"))
    model = options.pop("model", "LightGCN")
    return tuned_settings(
        model, "planted", (), keys, n_trials, folder=folder, space=space, **options
    )


def trials_of(folder: Path) -> list[dict[str, Any]]:
    """The trials of a study's file."""
    found: list[dict[str, Any]] = json.loads((folder / "study.json").read_text())["trials"]
    return found


def results_of(folder: Path) -> list[tuple[Any, ...]]:
    """What must be equal for equal searches: all but the seconds."""
    return [(t["trial"], t["outcome"], t["score"], t["settings"]) for t in trials_of(folder)]


def work(folder: Path, n_trials: int, url: str | None, log: Path, seconds: float) -> None:
    """One worker: notes each run that it begins and ends in ``log``, and sleeps in between."""

    def note(word: str, keys: dict[str, Any]) -> None:
        with log.open("a") as stream:
            stream.write(json.dumps([word, keys["reg_weight"]]) + "\n")

    def before(keys: dict[str, Any]) -> None:
        note("begin", keys)
        time.sleep(seconds)
        note("end", keys)

    trial.run_recbole_diffusion = FakeRun(before)  # type: ignore[assignment]
    search(folder, n_trials, storage=url)

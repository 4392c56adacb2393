"""Trackers of experiments: a run's settings, losses and metrics in MLflow or Weights & Biases.

Where they write, and whether over a network, their own variables say: ``MLFLOW_TRACKING_URI``,
``WANDB_MODE=offline``.
"""

import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole_diffusion.base.files import read_json, write_json
from recbole_diffusion.training.callbacks import Callback

FILE = "tracker.json"
# Parameters and metrics in one request, and characters of a value, that any MLflow takes.
MLFLOW_BATCH, MLFLOW_WIDTH = 100, 500


class _Tracker(Callback):
    """Tracks a run under an id that stands in its folder, so that the rest of it goes on there.

    Args:
        name: Of the tracker, as key ``tracker`` has it.
        project: Where runs are gathered.
    """

    def __init__(self, name: str, project: str) -> None:
        self._name, self._project = name, project

    def _kept_id(self, folder: str) -> str | None:
        path = Path(folder) / FILE
        if not path.is_file():
            return None
        kept = read_json(path, "tracker", "run")
        return str(kept["run"]) if kept["tracker"] == self._name else None

    def _keep_id(self, folder: str, run: str) -> None:
        write_json(Path(folder) / FILE, {"tracker": self._name, "run": run})


class WandbTracker(_Tracker):
    """Weights & Biases; its own files go into the run's folder."""

    def on_start(self, folder: str, settings: Mapping[str, Any], is_resumed: bool) -> None:
        """Start a tracked run, or go on with it."""
        import wandb

        run = self._kept_id(folder) or secrets.token_hex(8)
        self._keep_id(folder, run)
        self._run = wandb.init(
            project=self._project,
            id=run,
            resume="allow",
            name=Path(folder).name,
            dir=folder,
            config=dict(settings),
        )

    def on_epoch(self, epoch: Mapping[str, Any]) -> None:
        """Log losses and metrics."""
        self._run.log(numbers_of(epoch), step=epoch["epoch"])

    def on_end(self, result: Mapping[str, Any] | None) -> None:
        """Log the result, and end."""
        self._run.summary.update(numbers_of_result(result or {}))
        self._run.finish(exit_code=int(result is None))


class MlflowTracker(_Tracker):
    """MLflow; projects are its experiments."""

    def on_start(self, folder: str, settings: Mapping[str, Any], is_resumed: bool) -> None:
        """Start a tracked run, or go on with it."""
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        self._client, self._metric = MlflowClient(), Metric
        run = self._kept_id(folder)
        if run is not None:
            self._run = run
            self._client.update_run(run, status="RUNNING")
            return
        found = self._client.get_experiment_by_name(self._project)
        place = found.experiment_id if found else self._client.create_experiment(self._project)
        created = self._client.create_run(place, run_name=Path(folder).name)
        self._run = created.info.run_id
        self._keep_id(folder, self._run)
        params = [Param(key, str(value)[:MLFLOW_WIDTH]) for key, value in settings.items()]
        for start in range(0, len(params), MLFLOW_BATCH):
            batch = params[start : start + MLFLOW_BATCH]
            self._client.log_batch(self._run, params=batch)

    def on_epoch(self, epoch: Mapping[str, Any]) -> None:
        """Log losses and metrics."""
        self._log(numbers_of(epoch), epoch["epoch"])

    def on_end(self, result: Mapping[str, Any] | None) -> None:
        """Log the result, and end."""
        self._log(numbers_of_result(result or {}), 0)
        self._client.set_terminated(self._run, "FAILED" if result is None else "FINISHED")

    def _log(self, numbers: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)  # MLflow's unit
        metrics = [
            self._metric(name.replace("@", "_at_"), value, now, step)
            for name, value in numbers.items()
        ]
        for start in range(0, len(metrics), MLFLOW_BATCH):
            self._client.log_batch(self._run, metrics=metrics[start : start + MLFLOW_BATCH])


TRACKERS = {"wandb": WandbTracker, "mlflow": MlflowTracker}


def tracker_of(config: Any) -> list[Callback]:
    """The tracker of key ``tracker``, none or one."""
    name = config["tracker"]
    return [TRACKERS[name](name, config["tracker_project"])] if name in TRACKERS else []


def numbers_of(epoch: Mapping[str, Any]) -> dict[str, float]:
    """Of a line of history, what a tracker draws: ``train/``, ``valid/`` and ``diagnostics/``."""
    return {
        "train/loss": epoch["loss"],
        "train/seconds": epoch["train_seconds"],
        **{f"train/{name}": value for name, value in epoch["terms"].items()},
        **{f"valid/{name}": value for name, value in (epoch["valid"] or {}).items()},
        **{f"diagnostics/{name}": value for name, value in epoch["diagnostics"].items()},
    }


def numbers_of_result(result: Mapping[str, Any]) -> dict[str, float]:
    """Of a result, its metrics and costs, as ``best/``."""
    costs = {k: v for k, v in result.items() if type(v) in (int, float)}
    parts = {
        f"{part}_{name}": value
        for part in ("valid", "test")
        for name, value in result.get(part, {}).items()
    }
    return {f"best/{name}": value for name, value in {**costs, **parts}.items()}

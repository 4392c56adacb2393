"""Runs in trackers of experiments: the packages themselves where they are, or stand-ins."""

import importlib.machinery
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from recbole_diffusion import resume_run, run_recbole_diffusion
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.files import read_json
from recbole_diffusion.settings import layers
from recbole_diffusion.training.history import read_history
from recbole_diffusion.training.trainer import RunTrainer

KEYS = {"epochs": 3, "eval_step": 2, "tracker_project": "ours"}


def start(planted: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return run_recbole_diffusion("BPR", "planted", config_dict={**planted, **KEYS, **keys})


def interrupted(planted: dict[str, Any], **keys: Any) -> Path:
    """The folder of a run that Ctrl-C ended in its last epoch."""

    def interrupt(self: Any, loss: torch.Tensor) -> None:
        if self.epochs_trained == 2:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunTrainer, "_check_nan", interrupt)
        with pytest.raises(KeyboardInterrupt):
            start(planted, **keys)
    (folder,) = Path(planted["output_dir"]).glob("BPR-*")
    return folder


class Wandb(ModuleType):
    """What of wandb a run calls; keeps runs by id, as its server does."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.__spec__ = importlib.machinery.ModuleSpec("wandb", None)
        self.runs: dict[str, SimpleNamespace] = {}

    def init(self, *, id: str, **arguments: Any) -> SimpleNamespace:
        run = self.runs.setdefault(
            id, SimpleNamespace(arguments=arguments, lines=[], summary={}, codes=[])
        )
        run.log = lambda numbers, step: run.lines.append((step, numbers))
        run.finish = lambda exit_code: run.codes.append(exit_code)
        return run


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Wandb:
    module = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_wandb_is_told_settings_epochs_and_result(planted: dict[str, Any], wandb: Wandb) -> None:
    result = start(planted, tracker="wandb", learning_rate=0.004)
    (run,) = wandb.runs.values()
    assert run.arguments["project"] == "ours"
    assert run.arguments["dir"] == result["run_folder"]
    assert run.arguments["config"]["learning_rate"] == 0.004
    history = read_history(result["run_folder"])
    assert [step for step, _ in run.lines] == [0, 1, 2]
    assert [numbers["train/loss"] for _, numbers in run.lines] == [r["loss"] for r in history]
    assert run.lines[1][1]["valid/recall@20"] == history[1]["valid"]["recall@20"]
    assert "valid/recall@20" not in run.lines[0][1]
    assert run.summary["best/test_recall@20"] == result["test"]["recall@20"]
    assert run.summary["best/best_epoch"] == result["best_epoch"]
    assert run.codes == [0]


@pytest.mark.usefixtures("saved_each_epoch")
def test_a_resumed_run_goes_on_in_its_tracked_run(planted: dict[str, Any], wandb: Wandb) -> None:
    folder = interrupted(planted, tracker="wandb")
    resume_run(folder)
    (run,) = wandb.runs.values()
    assert [step for step, _ in run.lines] == [0, 1, 2]
    assert run.codes == [1, 0]
    assert list(wandb.runs) == [read_json(folder / "tracker.json")["run"]]


@pytest.mark.usefixtures("saved_each_epoch")
def test_mlflow_keeps_settings_epochs_and_result(
    planted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    folder = interrupted(planted, tracker="mlflow", learning_rate=0.004)
    client = mlflow.MlflowClient()
    (experiment,) = client.search_experiments(filter_string="name = 'ours'")
    (stopped,) = client.search_runs([experiment.experiment_id])
    assert stopped.info.status == "FAILED"
    result = resume_run(folder)
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.info.run_name == folder.name
    assert run.data.params["learning_rate"] == "0.004"
    history = read_history(folder)
    losses = client.get_metric_history(run.info.run_id, "train/loss")
    assert [(m.step, m.value) for m in losses] == [(r["epoch"], r["loss"]) for r in history]
    (valid,) = client.get_metric_history(run.info.run_id, "valid/recall_at_20")
    assert (valid.step, valid.value) == (1, history[1]["valid"]["recall@20"])
    assert run.data.metrics["best/test_ndcg_at_10"] == result["test"]["ndcg@10"]


def test_a_tracker_that_is_not_installed_is_refused(
    planted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "find_spec", lambda name: None)
    for name in ("wandb", "mlflow"):
        expected = rf"`tracker`: found '{name}', but {name} is not .*recbole_diffusion\[track\]"
        with pytest.raises(UserError, match=expected):
            start(planted, tracker=name)
    with pytest.raises(UserError, match=r"`energy`: found True, but codecarbon .*\[energy\]"):
        start(planted, energy=True)


def test_keys_of_recbole_say_what_to_write(planted: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="`log_wandb`: found True.*write tracker: wandb"):
        start(planted, log_wandb=True)
    with pytest.raises(UserError, match="`wandb_project`: found 'mine'.*write tracker_project"):
        start(planted, wandb_project="mine")

"""Whole runs on the planted set: results, files, checkpoints, interruptions, and the best epoch."""

import logging
import math
import random
import re
import resource
import signal
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from forked import run_forked
from recbole.model.general_recommender import BPR

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.files import read_json
from recbole_diffusion.base.log import run_logger
from recbole_diffusion.base.randomness import seed_everything
from recbole_diffusion.commands.cli import main
from recbole_diffusion.data.split import Split, load_split
from recbole_diffusion.models import host_models
from recbole_diffusion.runs import quick_start, report
from recbole_diffusion.runs import run as run_module
from recbole_diffusion.runs.quick_start import run_recbole_diffusion
from recbole_diffusion.runs.run import StopRun
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.registry import register
from recbole_diffusion.training import progress
from recbole_diffusion.training.checkpoint import read_checkpoint
from recbole_diffusion.training.trainer import DiffusionTrainer

DATASETS = Path(__file__).resolve().parents[1] / "dataset_atomic"
MODELS = ("BPR", "LightGCN", "MultiVAE", "EASE", "ItemKNN", "Pop", "recbole.DiffRec")
METRICS = {f"{name}@{k}" for name in ("recall", "ndcg") for k in (10, 20, 50)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One run of every model, started in an empty folder, and what that folder holds after it."""
    root = tmp_path_factory.mktemp("runs")
    (root / "cwd").mkdir()
    keys = {"data_path": str(DATASETS), "output_dir": str(root / "out"), "show_progress": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root / "cwd")
        found: dict[str, Any] = {
            model: run_recbole_diffusion(model, "planted", config_dict={**keys, "epochs": 2})
            for model in MODELS
        }
    return {**found, "cwd": sorted((root / "cwd").rglob("*")), "root": sorted(root.iterdir())}


def run(planted: dict[str, Any], model: str | type = "BPR", **keys: Any) -> dict[str, Any]:
    return run_recbole_diffusion(model, "planted", config_dict={**planted, **keys})


def fresh(
    planted: dict[str, Any], folder: Path, model: str | type, **keys: Any
) -> tuple[Any, Any, Split]:
    """A trainer, a model and the split of a run that is yet to train."""
    config = Config(model, "planted", (), {**planted, **keys})
    seed_everything(config["seed"])
    split = load_split(config)
    config["split_hash"], config["checkpoint_dir"] = split.digest, str(folder)
    config["data_hash"] = split.data_digest
    seed_everything(config["seed"])
    network = config.model_class(config, split.train._dataset)
    return config.registration.trainer_class(config, network), network, split


def log_of(result: dict[str, Any]) -> str:
    return Path(result["run_folder"], "run.log").read_text(encoding="utf-8")


# Results and files


@pytest.mark.compat
@pytest.mark.parametrize("model", MODELS)
def test_result_is_finite_and_complete(runs: dict[str, Any], model: str) -> None:
    result = runs[model]
    assert result["model"] == model.removeprefix("recbole.")
    assert result["is_host_model"]
    for part in ("valid", "test"):
        assert set(result[part]) == METRICS
        assert all(0 <= value <= 1 and math.isfinite(value) for value in result[part].values())
        assert all(type(value) is float for value in result[part].values())
        assert result[part]["recall@50"] > result[part]["recall@20"] > 0
    is_solved = model in ("EASE", "ItemKNN", "Pop")
    assert result["epochs_trained"] == (1 if is_solved else 2)
    assert 0 <= result["best_epoch"] < result["epochs_trained"]
    if is_solved:
        assert result["parameters"] is None  # their one parameter is not trained
    else:
        assert result["parameters"] > 64  # one vector at least
    for name in ("setup_seconds", "train_seconds_per_epoch", "valid_seconds", "peak_memory_mb"):
        assert result[name] > 0


@pytest.mark.parametrize("model", MODELS)
def test_files_of_a_run(runs: dict[str, Any], model: str) -> None:
    result, folder = runs[model], Path(runs[model]["run_folder"])
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "result.json", "run.log", "config.yaml", "best.pth", "last.pth", "history.jsonl",
        "ids.npz", "tensorboard",
    }  # fmt: skip
    assert read_json(folder / "result.json") == result
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    assert settings["epochs"] == 2
    assert settings["topk"] == [10, 20, 50]
    assert read_checkpoint(folder / "best.pth")["epoch"] == result["best_epoch"]
    assert read_checkpoint(folder / "last.pth")["epoch"] == result["epochs_trained"] - 1


@pytest.mark.compat
def test_settings_of_a_run_repeat_it(planted: dict[str, Any], tmp_path: Path) -> None:
    first = run(planted, "LightGCN", learning_rate=0.02, topk=[5, 20], seed=3)
    file = Path(first["run_folder"], "config.yaml")
    again = run_recbole_diffusion("LightGCN", "planted", [str(file)])
    assert Path(again["run_folder"]).parent == Path(first["run_folder"]).parent
    for key in ("split_hash", "seed", "best_epoch", "valid", "test"):
        assert again[key] == first[key], key


@pytest.mark.parametrize("model", MODELS)
def test_log_tells_settings_data_epochs_and_results(runs: dict[str, Any], model: str) -> None:
    result, text = runs[model], log_of(runs[model])
    assert "learning_rate: " in text
    assert f"split {result['split_hash']}" in text
    assert "200 users, 150 items, 4015 interactions" in text
    assert len(re.findall(r"epoch \d+: loss| solved \[", text)) == result["epochs_trained"]
    for name in METRICS:
        row = f"{name:<14}{result['valid'][name]:>12.4f}{result['test'][name]:>12.4f}"
        assert row in text, name
    assert "\x1b" not in text


def test_nothing_is_written_outside_the_output_folder(runs: dict[str, Any]) -> None:
    assert runs["cwd"] == []
    assert [path.name for path in runs["root"]] == ["cwd", "out"]


def test_item_similarities_beat_popularity(runs: dict[str, Any]) -> None:
    """Over eight splits both lead by 0.71 to 0.81 in Recall@20."""
    for model in ("EASE", "ItemKNN"):
        assert runs[model]["test"]["recall@20"] > runs["Pop"]["test"]["recall@20"] + 0.5


def test_split_is_shared_by_models_and_seeds(runs: dict[str, Any], planted: dict[str, Any]) -> None:
    digests = {runs[model]["split_hash"] for model in MODELS}
    assert len(digests) == 1
    assert run(planted, "Pop", seed=7)["split_hash"] in digests
    assert run(planted, "Pop", split_seed=7)["split_hash"] not in digests


@pytest.mark.compat
@pytest.mark.parametrize("model", ["BPR", "MultiVAE", "recbole.DiffRec", "LightGCN"])
def test_same_seed_gives_the_same_bits(planted: dict[str, Any], model: str) -> None:
    """With several threads too, which race for the rows that a batch of LightGCN's repeats."""
    first, again, other = (run(planted, model, seed=seed) for seed in (11, 11, 12))
    assert (first["valid"], first["test"]) == (again["valid"], again["test"])
    assert first["test"] != other["test"]
    weights, same = (read_checkpoint(f"{r['run_folder']}/last.pth") for r in (first, again))
    assert weights["state_dict"].keys() == same["state_dict"].keys()
    for name, value in weights["state_dict"].items():
        assert torch.equal(value, same["state_dict"][name]), name


def test_draws_while_loading_do_not_shift_the_run(
    planted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(planted, "BPR")

    def drawing(*arguments: Any) -> Split:
        split = load_split(*arguments)
        torch.rand(5), np.random.rand(5), random.random()
        return split

    monkeypatch.setattr(run_module, "load_split", drawing)
    assert run(planted, "BPR")["test"] == expected["test"]


def test_progress_bars_do_not_change_the_result(
    planted: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = run(planted, "LightGCN")
    capsys.readouterr()
    monkeypatch.setattr(progress, "tqdm", partial(progress.tqdm, mininterval=0, miniters=1))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    shown = run(planted, "LightGCN", show_progress=True)
    out, err = capsys.readouterr()
    assert (shown["valid"], shown["test"]) == (quiet["valid"], quiet["test"])
    assert "epoch 0" in err
    assert re.search(r"loss=0\.6[89]\d\d\b", err)  # about ln 2, as an untrained model's
    assert err.count("\n") == 0  # finished bars are cleared
    assert f"{shown['test']['recall@20']:.4f}" in out


def test_runs_of_one_second_get_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"model": "BPR", "dataset": "planted", "output_dir": str(tmp_path / "deep" / "out")}
    monkeypatch.setattr(report.time, "strftime", lambda form: "20260101-000000")
    drawn = iter(["aaa", "aaa", "aaa", "bbb"])
    monkeypatch.setattr(report.secrets, "token_hex", lambda n: next(drawn))
    first, second = report.new_run_folder(config), report.new_run_folder(config)
    assert first != second
    assert first.is_dir()
    assert second.is_dir()
    assert first.name == "BPR-planted-20260101-000000-aaa"
    assert next(drawn, "used up") == "used up"


def test_runs_of_one_process_have_logs_of_their_own(planted: dict[str, Any]) -> None:
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    first = run(planted, "Pop")
    text = log_of(first)
    second = run(planted, "BPR", epochs=2)
    assert (list(root.handlers), root.level) == before
    assert log_of(first) == text
    assert "BPR" not in text
    assert "Pop on planted" not in log_of(second)
    assert log_of(second).count("epoch 0: loss") == 1
    tensorboards = [list(Path(r["run_folder"]).rglob("events.*")) for r in (first, second)]
    assert all(tensorboards)


def test_run_loaded_within_another_log_is_no_part_of_it(
    planted: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a comparison's report does: nothing joins its folder, and no message is told twice."""
    loaded, folder = run(planted, "DiffRec", epochs=1), tmp_path / "comparison"
    folder.mkdir()
    capsys.readouterr()
    with run_logger(folder, "info") as log:
        quick_start.load_run(loaded["run_folder"], {"state": "error"})
        with run_logger(None, "info"):
            log.info("of the run")
        log.info("of the comparison")
    assert capsys.readouterr().out.splitlines() == ["of the run", "of the comparison"]
    assert [path.name for path in folder.iterdir()] == ["run.log"]
    lines = (folder / "run.log").read_text().splitlines()
    assert [line.split(" INFO ")[1] for line in lines] == ["of the comparison"]


def test_run_leaves_no_thread_behind(planted: dict[str, Any]) -> None:
    run(planted, "Pop")
    before = threading.active_count()
    run(planted, "Pop")
    assert threading.active_count() == before


# Checkpoints


@pytest.mark.compat
@pytest.mark.parametrize("model", ["EASE", "LightGCN", "MultiVAE"])
def test_best_checkpoint_gives_the_reported_metrics(
    runs: dict[str, Any],
    planted: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    trainer, network, split = fresh(planted, tmp_path, model, seed=99, epochs=2)
    saved = read_checkpoint(Path(runs[model]["run_folder"], "best.pth"))
    assert set(saved["state_dict"]) == set(network.state_dict())
    assert set(saved["other_parameter"]) == set(network.other_parameter())
    for key in network.other_parameter():  # nothing of the fresh model may serve by accident
        setattr(network, key, None)
    with torch.no_grad():
        for value in network.state_dict().values():
            value.copy_(torch.rand_like(value.float()))
    best = Path(runs[model]["run_folder"], "best.pth")
    valid = trainer.evaluate(split.valid, model_file=best)
    test = trainer.evaluate(split.test, load_best_model=False)
    assert dict(valid) == runs[model]["valid"]
    assert dict(test) == runs[model]["test"]


@pytest.mark.parametrize(
    ("model", "keys", "named"),
    [
        ("Pop", {}, "found model 'EASE', this run has 'Pop'"),
        ("EASE", {"split_seed": 5}, "split_hash"),
    ],
)
def test_checkpoint_of_another_run_is_refused(
    runs: dict[str, Any],
    planted: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    keys: dict[str, Any],
    named: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    trainer, _, split = fresh(planted, tmp_path, model, **keys)
    best = Path(runs["EASE"]["run_folder"], "best.pth")
    with pytest.raises(UserError, match=named) as error:
        trainer.evaluate(split.valid, model_file=best)
    assert str(best) in str(error.value)


def test_checkpoint_of_another_size_is_refused(
    runs: dict[str, Any], planted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trainer, *_ = fresh(planted, tmp_path, "BPR", embedding_size=8)
    with pytest.raises(UserError, match=r"best\.pth.*do not fit this run's settings"):
        trainer.load_checkpoint(Path(runs["BPR"]["run_folder"], "best.pth"))


# Runs that a caller follows


class Untouchable:
    """In place of a loader that must not be read."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} of the test part was read")

    def __iter__(self) -> Any:
        raise AssertionError("the test part was read")


def test_each_validation_is_told(planted: dict[str, Any]) -> None:
    told: list[tuple[int, float]] = []
    keys = {**planted, "epochs": 6, "eval_step": 2}
    result = run_recbole_diffusion(
        "BPR", "planted", config_dict=keys, on_validation=lambda *args: told.append(args)
    )
    assert [epoch for epoch, _ in told] == [1, 3, 5]
    best_epoch, best = max(told, key=lambda pair: pair[1])
    assert (result["best_epoch"], result["valid"]["recall@20"]) == (best_epoch, best)
    assert result["stopped"] is None


def test_run_that_is_stopped_ends_as_one_with_that_many_epochs(planted: dict[str, Any]) -> None:
    def stop(epoch: int, score: float) -> None:
        if epoch == 1:
            raise StopRun("enough of it")

    keys = {**planted, "epochs": 9}
    stopped = run_recbole_diffusion("BPR", "planted", config_dict=keys, on_validation=stop)
    whole = run(planted, "BPR", epochs=2)
    assert (stopped["stopped"], whole["stopped"]) == ("enough of it", None)
    for key in ("epochs_trained", "best_epoch", "valid", "test"):
        assert stopped[key] == whole[key], key
    assert quick_start.resume_run(stopped["run_folder"]) == stopped  # it has ended


def test_run_without_test_never_reads_it(
    planted: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scored = run(planted, "BPR")
    capsys.readouterr()
    monkeypatch.setattr(
        run_module, "load_split", lambda *a: replace(load_split(*a), test=Untouchable())
    )
    result = run_recbole_diffusion("BPR", "planted", config_dict=planted, with_test=False)
    assert result["valid"] == scored["valid"]
    assert not [key for key in result if "test" in key]
    assert read_json(Path(result["run_folder"], "result.json")) == result
    assert "best epoch" not in capsys.readouterr().out
    with pytest.raises(AssertionError, match="test part was read"):
        run(planted, "BPR")


def test_run_in_a_given_folder(planted: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "of" / "mine"
    result = run_recbole_diffusion("Pop", "planted", config_dict=planted, run_folder=folder)
    assert result["run_folder"] == str(folder)
    assert (folder / "result.json").is_file()
    assert not Path(planted["output_dir"]).exists()


# Interruptions


class Stopped(BPR):
    """RecBole's BPR that stops, or fails, in one batch; notes its weights before every batch."""

    stop_at, error, before = -1, KeyboardInterrupt, []

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        self.before.append({k: v.clone() for k, v in self.state_dict().items()})
        if len(self.before) == self.stop_at:
            raise self.error
        return super().calculate_loss(interaction)


@pytest.fixture
def stopped(own_registry: None, tmp_path: Path) -> type[Stopped]:
    (tmp_path / "stopped.yaml").write_text("embedding_size: 8\n")
    model = type("StoppedBPR", (Stopped,), {"before": []})
    return register(model, properties=tmp_path / "stopped.yaml")


def only_run(planted: dict[str, Any]) -> Path:
    (folder,) = Path(planted["output_dir"]).iterdir()
    return folder


@pytest.mark.usefixtures("saved_each_epoch")
@pytest.mark.parametrize(("stop_at", "finished"), [(3, -1), (8, 0), (17, 1)])
def test_interrupted_run_leaves_its_last_epoch(
    planted: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stopped: type[Stopped],
    stop_at: int,
    finished: int,
) -> None:
    stopped.stop_at = stop_at
    keys = {"train_batch_size": 512, "epochs": 4}  # seven batches an epoch
    with pytest.raises(KeyboardInterrupt):
        run(planted, stopped, **keys)
    last = only_run(planted) / "last.pth"
    told = [line for line in capsys.readouterr().out.splitlines() if "interrupted;" in line]
    assert told == [f"interrupted; to go on: --resume={only_run(planted)}"]
    assert told[0] in (only_run(planted) / "run.log").read_text()

    saved = read_checkpoint(last)
    assert saved["epoch"] == finished
    monkeypatch.chdir(tmp_path)
    trainer, network, split = fresh(planted, tmp_path, stopped, **keys)
    trainer.load_checkpoint(last)
    for name, value in stopped.before[(finished + 1) * 7].items():
        assert torch.equal(network.state_dict()[name], value), name
    assert 0 < trainer.evaluate(split.test, load_best_model=False)["recall@50"] < 1
    assert not [path for path in only_run(planted).iterdir() if path.name.startswith(".")]


def test_interruption_before_the_first_epoch_can_be_resumed(
    planted: dict[str, Any], own_registry: None, stopped: type[Stopped]
) -> None:
    """As in a stage of pre-training, which runs in this hook."""

    class Slow(DiffusionTrainer):
        def on_fit_start(self, train_data: Any, valid_data: Any) -> None:
            raise KeyboardInterrupt

    register(stopped, Slow)
    with pytest.raises(KeyboardInterrupt):
        run(planted, stopped.__name__, embedding_size=8)
    assert "interrupted;" in (only_run(planted) / "run.log").read_text()
    assert read_checkpoint(only_run(planted) / "last.pth")["epoch"] == -1


@pytest.mark.usefixtures("saved_each_epoch")
def test_loss_that_is_not_a_number_is_reported_with_its_epoch(
    planted: dict[str, Any], stopped: type[Stopped], monkeypatch: pytest.MonkeyPatch
) -> None:
    calculate_loss = stopped.calculate_loss

    def spoiled(self: Any, interaction: Any) -> torch.Tensor:
        loss = calculate_loss(self, interaction)
        return loss * float("nan") if len(self.before) == 10 else loss

    monkeypatch.setattr(stopped, "calculate_loss", spoiled)
    with pytest.raises(UserError, match="NaN in epoch 1: lower key `learning_rate`"):
        run(planted, stopped, train_batch_size=512, epochs=3)
    assert read_checkpoint(only_run(planted) / "last.pth")["epoch"] == 0


# The best epoch


class Scripted(DiffusionTrainer):
    """Validation scores come from a list in place of an evaluation."""

    scores: list[float] = []

    def _valid_epoch(self, valid_data: Any, show_progress: bool = False) -> Any:
        score = self.scores.pop(0)
        return score, {self.valid_metric: score}


class ScriptedBPR(BPR):
    pass


@pytest.fixture
def scripted(own_registry: None, tmp_path: Path, planted: dict[str, Any]) -> Any:
    (tmp_path / "scripted.yaml").write_text("embedding_size: 8\n")
    register(ScriptedBPR, Scripted, tmp_path / "scripted.yaml")

    def start(scores: list[float], **keys: Any) -> dict[str, Any]:
        Scripted.scores = list(scores)
        return run(planted, "ScriptedBPR", **{"epochs": len(scores), **keys})

    return start


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([0.1, 0.3, 0.2], 1),
        ([0.30001, 0.30002, 0.30003, 0.30002], 2),
        ([0.3, 0.5, 0.5, 0.5], 1),
        ([0.0, 0.0, 0.0], 0),
        ([0.3, 0.3 + 1e-12, 0.3], 1),
        ([0.1, 0.2, 0.3], 2),
    ],
)
def test_best_epoch_has_the_largest_score_and_comes_first(
    scripted: Any, scores: list[float], best: int
) -> None:
    result = scripted(scores)
    folder = Path(result["run_folder"])
    assert result["best_epoch"] == best
    assert result["epochs_trained"] == len(scores)
    saved, last = read_checkpoint(folder / "best.pth"), read_checkpoint(folder / "last.pth")
    progress = last["training"]
    assert (saved["epoch"], last["epoch"]) == (best, len(scores) - 1)
    assert (progress["best_epoch"], progress["best_valid_score"]) == (best, scores[best])
    same = all(torch.equal(v, last["state_dict"][k]) for k, v in saved["state_dict"].items())
    assert same == (best == len(scores) - 1)


def test_smaller_is_better_where_the_metric_says_so(scripted: Any) -> None:
    keys = {"metrics": ["AveragePopularity"], "valid_metric": "AveragePopularity@20"}
    assert scripted([5.0, 3.0, 3.0, 4.0], **keys)["best_epoch"] == 1


@pytest.mark.parametrize(("stopping_step", "trained"), [(0, 3), (1, 4), (2, 5), (9, 6)])
def test_training_stops_after_so_many_worse_validations(
    scripted: Any, stopping_step: int, trained: int
) -> None:
    result = scripted([0.1, 0.5, 0.4, 0.5, 0.3, 0.2], stopping_step=stopping_step)
    assert result["epochs_trained"] == trained
    assert result["best_epoch"] == 1


def test_validation_every_other_epoch(scripted: Any) -> None:
    result = scripted([0.4, 0.3], epochs=5, eval_step=2, stopping_step=10)
    assert result["epochs_trained"] == 5
    assert result["best_epoch"] == 1  # epochs 1 and 3 are validated
    last = read_checkpoint(Path(result["run_folder"], "last.pth"))
    assert last["epoch"] == 4
    assert Scripted.scores == []


def test_models_of_one_epoch_are_validated_in_it(planted: dict[str, Any]) -> None:
    """RecBole's trainer of these lowers `epochs` to 1 after it has read `eval_step`."""
    result = run(planted, "EASE", epochs=10, eval_step=5)
    assert (result["best_epoch"], result["epochs_trained"]) == (0, 1)
    assert "validation recall@10" in log_of(result)


def test_lines_of_epochs_with_and_without_validation(planted: dict[str, Any]) -> None:
    text = log_of(run(planted, "BPR", epochs=5, eval_step=2))
    lines = [line for line in text.splitlines() if re.search(r"epoch \d+: loss", line)]
    assert [int(re.search(r"epoch (\d+)", line)[1]) for line in lines] == [0, 1, 2, 3, 4]
    assert ["validation recall@10" in line for line in lines] == [False, True, False, True, False]


def test_no_validation_keeps_the_last_epoch(planted: dict[str, Any]) -> None:
    result = run(planted, "BPR", epochs=3, eval_step=0)
    assert result["best_epoch"] == 2
    assert read_checkpoint(Path(result["run_folder"], "best.pth"))["epoch"] == 2


def test_no_epochs_evaluate_the_untrained_model(
    planted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(planted, "BPR", epochs=0)
    assert (result["best_epoch"], result["epochs_trained"]) == (-1, 0)
    assert result["train_seconds_per_epoch"] == 0
    monkeypatch.chdir(tmp_path)
    trainer, _, split = fresh(planted, tmp_path, "BPR", epochs=0)
    assert result["test"] == dict(trainer.evaluate(split.test, load_best_model=False))
    for name in ("best.pth", "last.pth"):
        assert read_checkpoint(Path(result["run_folder"], name))["epoch"] == -1


@pytest.mark.parametrize("model", ["EASE", "ADMMSLIM"])
def test_no_memory_for_a_model_is_one_line(
    planted: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    model: str,
) -> None:
    def refuse(*args: Any) -> None:
        raise MemoryError("Unable to allocate 4.78 GiB")

    monkeypatch.setattr(host_models, "second_moment", refuse)
    words = [f"--{key}={value}" for key, value in planted.items()]
    assert main([f"--model={model}", "--dataset=planted", *words]) == 2
    assert capsys.readouterr().err == (
        f"error: out of memory: Unable to allocate 4.78 GiB; making {model} for 201 users and 151 "
        "items\n"
    )


def test_a_file_that_cannot_grow_ends_a_run_in_one_line(
    planted: dict[str, Any], tmp_path: Path
) -> None:
    """As on a full disk; the run goes on where it stopped, if it had begun."""
    words = [f"--{key}={value}" for key, value in planted.items()]

    def action() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        sys.exit(main(["--model=DiffRec", "--dataset=planted", *words]))

    end = run_forked(action)
    folder = only_run(planted)
    assert end.returncode == 2
    assert end.stderr == (
        f"error: {folder}/last.pth: File too large; it had no checkpoint yet: start it anew\n"
    )
    assert not list(folder.glob(".*"))

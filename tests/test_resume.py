"""Runs that go on exactly where they stopped, and saved runs that are scored again."""

import json
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from forked import Served
from recbole.model.general_recommender import BPR
from recbole.trainer import Trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from recbole_diffusion import analyze, evaluate_run, register, resume_run, run_recbole_diffusion
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.files import LOCK, sole_writer
from recbole_diffusion.commands.cli import parse_arguments
from recbole_diffusion.host import scripts as habits
from recbole_diffusion.runs.run import Run
from recbole_diffusion.runs.saved import saved_config
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.words import split_files
from recbole_diffusion.training import pretrain, saving
from recbole_diffusion.training import trainer as trainer_module
from recbole_diffusion.training.checkpoint import read_checkpoint, save_checkpoint
from recbole_diffusion.training.history import FILE, read_history
from recbole_diffusion.training.state import ModelAttributes, learners
from recbole_diffusion.training.trainer import DiffusionTrainer, RunTrainer

pytestmark = pytest.mark.usefixtures("saved_each_epoch")

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "kill_and_resume.py"
MODELS = ("InfoDCL", "SimDiff", "LDiffRec", "LD4MRec", "DiffMM", "LightGCN", "BPR", "MultiVAE")
# Three epochs; two of pre-training where there is one.
KEYS = {
    "epochs": 3,
    "train_batch_size": 512,
    "steps": 5,
    "channels": ["knowledge"],
    "pretrain_epochs": 2,
    "pretrain_batch_size": 512,
    "hidden_size": 32,
    "hidden_sizes": [16],
    "generator_batch_size": 64,
    "edge_keep_rate": 0.5,
    "random_ratio": 0.5,
}
# Keys of one model or two.
OWN_KEYS = {
    "steps": ["InfoDCL", "SimDiff", "LDiffRec", "LD4MRec", "DiffMM"],
    "channels": ["InfoDCL", "SimDiff"],
    "pretrain_epochs": ["InfoDCL", "SimDiff", "LDiffRec"],
    "pretrain_batch_size": ["InfoDCL", "SimDiff", "LDiffRec"],
    "hidden_size": ["LD4MRec"],
    **dict.fromkeys(
        ("hidden_sizes", "generator_batch_size", "edge_keep_rate", "random_ratio"), ["DiffMM"]
    ),
}
USER_MODELS = ("MultiVAE", "LDiffRec", "LD4MRec")


@pytest.fixture
def settings(planted: dict[str, Any], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Settings of a run of a model in an output folder of that name."""
    return partial(settings_in, tmp_path, planted)


def settings_in(
    parent: Path, planted: dict[str, Any], model: str, folder: str, **keys: Any
) -> dict[str, Any]:
    own = {k: v for k, v in KEYS.items() if model in OWN_KEYS.get(k, [model])}
    if model in USER_MODELS:
        own["train_batch_size"] = 32  # users
    if model == "DiffMM":
        own["item_features"] = vectors(parent, Path(planted["data_path"]))
    return {**planted, **own, "output_dir": str(parent / folder), **keys}


@pytest.fixture(scope="module")
def whole_runs() -> dict[str, dict[str, Any]]:
    """Results by settings, in folders that are read alone."""
    return {}


@pytest.fixture
def left_alone(
    planted: dict[str, Any],
    whole_runs: dict[str, dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., dict[str, Any]]:
    """The result of a run that nothing interrupts, the same for all tests of its settings."""

    def run(model: str, **keys: Any) -> dict[str, Any]:
        name = json.dumps([model, keys], sort_keys=True)
        if name not in whole_runs:
            parent = tmp_path_factory.mktemp("whole")
            whole_runs[name] = start(model, settings_in(parent, planted, model, "runs", **keys))
        return whole_runs[name]

    return run


def vectors(folder: Path, data_path: Path) -> dict[str, Any]:
    """Key ``item_features`` with two modalities of random numbers for the planted items."""
    lines = (data_path / "planted" / "planted.item").read_text().splitlines()[1:]
    ids, draw = np.array([line.split("\t")[0] for line in lines]), np.random.default_rng(1)
    for name in ("one", "two"):
        np.savez(folder / f"{name}.npz", ids=ids, matrix=draw.normal(size=(len(ids), 4)))
    return {name: {"file": str(folder / f"{name}.npz")} for name in ("one", "two")}


def start(model: str, keys: dict[str, Any]) -> dict[str, Any]:
    return run_recbole_diffusion(model, "planted", config_dict=keys)


@contextmanager
def interruption(batch: int) -> Iterator[None]:
    """Ctrl-C in the given batch, counted from here on over pre-training and training."""
    seen = 0

    def check(self: Any, loss: torch.Tensor) -> None:
        nonlocal seen
        seen += 1
        if seen == batch:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunTrainer, "_check_nan", check)
        try:
            yield
        except KeyboardInterrupt:
            return
    pytest.fail(f"the run ended before batch {batch}")


def folder_of(keys: dict[str, Any]) -> Path:
    (folder,) = (path for path in Path(keys["output_dir"]).iterdir() if path.name != "cache")
    return folder


def assert_same(one: Any, other: Any, place: str = "") -> None:
    """Equal to the bit, times apart."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), place
        for key in one.keys() - {"train_seconds", "pretrain_seconds", "fit_seconds", "settings"}:
            assert_same(one[key], other[key], f"{place}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), place
        for number, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{place}[{number}]")
    elif isinstance(one, (torch.Tensor, np.ndarray)):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(other)), place
    else:
        assert one == other, place


def assert_same_end(resumed: dict[str, Any], whole: dict[str, Any]) -> None:
    """The results, and everything in both checkpoints: the next epoch would be the same too."""
    for key in ("valid", "test", "best_epoch", "epochs_trained", "split_hash", "parameters"):
        assert resumed[key] == whole[key], key
    for file in ("best.pth", "last.pth"):
        one, other = (read_checkpoint(Path(r["run_folder"], file)) for r in (resumed, whole))
        assert_same(one, other, file)
    assert untimed_history(resumed) == untimed_history(whole)


def untimed_history(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Of a run, all of its file: each epoch has one line."""
    history = read_history(result["run_folder"])
    assert Path(result["run_folder"], FILE).read_text().count("\n") == len(history)
    return [{k: v for k, v in e.items() if not k.endswith("_seconds")} for e in history]


# Resume


@pytest.mark.compat
@pytest.mark.parametrize("batch", [1, 9, 20])
@pytest.mark.parametrize("model", MODELS)
def test_resumed_run_ends_as_one_left_alone(
    settings: Callable[..., dict[str, Any]],
    left_alone: Callable[..., dict[str, Any]],
    model: str,
    batch: int,
) -> None:
    whole = left_alone(model)
    keys = settings(model, "stopped")
    with interruption(batch):
        start(model, keys)
    log = (folder_of(keys) / "run.log").read_text()
    resumed = resume_run(folder_of(keys))
    assert_same_end(resumed, whole)
    assert resumed["run_folder"] == str(folder_of(keys).resolve())
    assert (folder_of(keys) / "run.log").read_text().startswith(log)


@pytest.fixture
def slow_writes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """An epoch takes 10 s and a write of ``last.pth`` 4 s, by a clock of the test's own.

    Gives the epochs that ``last.pth`` is written of.
    """
    now, written = 0.0, []

    def start_epoch(*_: Any) -> None:
        nonlocal now
        now += 10.0

    def save(path: str, content: dict[str, Any]) -> None:
        nonlocal now
        save_checkpoint(path, content)
        if Path(path).name == "last.pth":
            now += 4.0
            written.append(content["epoch"])

    clock = SimpleNamespace(perf_counter=lambda: now)
    monkeypatch.setattr(saving, "SHARE_OF_TIME", 0.05)
    monkeypatch.setattr(RunTrainer, "on_epoch_start", start_epoch)
    monkeypatch.setattr(saving, "save_checkpoint", save)
    for module in (saving, trainer_module):
        monkeypatch.setattr(module, "time", clock)
    return written


def test_last_checkpoint_takes_a_share_of_the_time_and_is_that_of_the_end(
    settings: Callable[..., dict[str, Any]], slow_writes: list[int]
) -> None:
    """Of 4 s each, so after 80 s of training; before the first epoch and at the end in any case."""
    result = start("BPR", settings("BPR", "whole", epochs=20, stopping_step=30))
    assert slow_writes == [-1, -1, 7, 15, 19]
    slow_writes.clear()
    start("BPR", settings("BPR", "stopped", epochs=20, stopping_step=2, learning_rate=0.0))
    assert slow_writes == [-1, -1, 3]  # the first epoch is the best, and three are no better
    assert result["epochs_trained"] == 20


def killed_in_epoch_12(keys: dict[str, Any]) -> Path:
    with interruption(12 * 7 + 3):
        start("BPR", keys)
    folder = folder_of(keys)
    assert read_checkpoint(folder / "last.pth")["epoch"] == 7
    assert read_checkpoint(folder / "best.pth")["epoch"] > 7
    assert len(read_history(folder)) == 12
    return folder


def test_run_goes_on_exactly_from_an_epoch_before_the_last(
    settings: Callable[..., dict[str, Any]], slow_writes: list[int]
) -> None:
    whole = start("BPR", settings("BPR", "whole", epochs=20))
    folder = killed_in_epoch_12(settings("BPR", "stopped", epochs=20))
    assert_same_end(resume_run(folder), whole)


def test_best_epoch_that_a_run_does_not_come_to_again_is_not_taken_for_its_own(
    settings: Callable[..., dict[str, Any]],
    slow_writes: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where a GPU adds up in another order; here nothing is better after the resumption."""
    folder = killed_in_epoch_12(settings("BPR", "stopped", epochs=20))
    best = read_checkpoint(folder / "last.pth")["training"]["best_epoch"]
    validate = Trainer._valid_epoch

    def worse(*args: Any, **kwargs: Any) -> tuple[float, dict[str, float]]:
        return 0.0, validate(*args, **kwargs)[1]

    monkeypatch.setattr(Trainer, "_valid_epoch", worse)
    result = resume_run(folder)
    assert result["best_epoch"] == best == read_checkpoint(folder / "best.pth")["epoch"]
    assert [path.name for path in folder.glob(".*.pth")] == []


def test_a_best_epoch_that_is_gone_is_told_before_training(
    settings: Callable[..., dict[str, Any]], slow_writes: list[int]
) -> None:
    folder = killed_in_epoch_12(settings("BPR", "stopped", epochs=20))
    (folder / ".best-of-last.pth").unlink()
    with pytest.raises(UserError, match=r"best\.pth: found epoch \d+, expected \d+, the best one"):
        resume_run(folder)


@pytest.mark.parametrize("changes", [{}, {"generator": "vgae", "contrastive_anchor": "modality"}])
@pytest.mark.parametrize("batch", [19, 24, 30])
def test_generators_go_on(
    settings: Callable[..., dict[str, Any]],
    left_alone: Callable[..., dict[str, Any]],
    changes: dict[str, Any],
    batch: int,
) -> None:
    """From the second epoch, of the first or second modality, or of the recommendation task."""
    whole = left_alone("DiffMM", **changes)
    keys = settings("DiffMM", "stopped", **changes)
    with interruption(batch):  # the second epoch: from 18, 23 and 28 on
        start("DiffMM", keys)
    saved = read_checkpoint(folder_of(keys) / "last.pth")
    assert saved["epoch"] == 0
    assert set(saved["training"]["learners"]) == {"optimizer", "optimizer_one", "optimizer_two"}
    assert saved["state_dict"]["generated_one"].any()
    assert_same_end(resume_run(folder_of(keys)), whole)


def test_checkpoint_of_another_version_is_refused(
    settings: Callable[..., dict[str, Any]],
) -> None:
    keys = settings("BPR", "stopped")
    with interruption(9):
        start("BPR", keys)
    last = folder_of(keys) / "last.pth"
    content = read_checkpoint(last)
    del content["training"]["best_valid_score"]
    save_checkpoint(last, content)
    with pytest.raises(UserError, match=r"last\.pth: found no best_valid_score of its training"):
        resume_run(folder_of(keys))


def test_annealing_goes_on(
    settings: Callable[..., dict[str, Any]], left_alone: Callable[..., dict[str, Any]]
) -> None:
    """By epochs and by updates, from the second of three epochs, after two of pre-training."""
    whole = left_alone("LDiffRec")
    keys = settings("LDiffRec", "stopped")
    with interruption(7 * 2 + 10):
        start("LDiffRec", keys)
    saved = read_checkpoint(folder_of(keys) / "last.pth")
    assert (saved["epoch"], saved["attributes"][".n_updates"]) == (0, 7)
    assert_same_end(resume_run(folder_of(keys)), whole)
    last = read_checkpoint(folder_of(keys) / "last.pth")["attributes"]
    assert (last[".epoch"], last[".n_updates"]) == (2, 21)


@pytest.mark.parametrize(
    "changes", [{}, {"sampling_noise": True}, {"latent": "noise"}, {"target": "pretrained"}]
)
def test_log_of_generation_goes_on(
    settings: Callable[..., dict[str, Any]], changes: dict[str, Any]
) -> None:
    """From a last epoch that was not validated, so that the change is from the one before it."""
    changes = {**changes, "epochs": 6, "eval_step": 2}
    whole = start("SimDiff", settings("SimDiff", "whole", **changes))
    keys = settings("SimDiff", "stopped", **changes)
    with interruption(7 * (2 + 3) + 4):
        start("SimDiff", keys)
    assert read_checkpoint(folder_of(keys) / "last.pth")["epoch"] in (2, 4)
    resumed = resume_run(folder_of(keys))
    assert_same_end(resumed, whole)
    logs = [generation_log(Path(run["run_folder"])) for run in (resumed, whole)]
    assert logs[0] == logs[1]
    assert set(logs[0]["Generation/log_snr"]) == {1, 3, 5}
    assert set(logs[0]["Generation/change"]) == {3, 5}


def generation_log(folder: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard shows of a run's generation, by name and epoch."""
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    names = [name for name in events.Tags()["scalars"] if name.startswith("Generation/")]
    return {name: {e.step: e.value for e in events.Scalars(name)} for name in names}


def test_run_that_is_interrupted_in_every_epoch(settings: Callable[..., dict[str, Any]]) -> None:
    whole = start("BPR", settings("BPR", "whole", epochs=4))
    keys = settings("BPR", "stopped", epochs=4)
    with interruption(8):
        start("BPR", keys)
    for _ in range(2):
        with interruption(8):  # of seven batches an epoch
            resume_run(folder_of(keys))
    assert_same_end(resume_run(folder_of(keys)), whole)


def test_pretraining_goes_on_too(settings: Callable[..., dict[str, Any]]) -> None:
    whole = start("InfoDCL", settings("InfoDCL", "whole"))
    keys = settings("InfoDCL", "stopped")
    with interruption(10):  # in the second of two epochs
        start("InfoDCL", keys)
    last = folder_of(keys) / "pretrain" / "last.pth"
    stage = read_checkpoint(last)
    assert stage["epoch"] == 0
    assert stage["training"]["fit_seconds"] > 0
    stage["training"]["fit_seconds"] = 1e4
    save_checkpoint(last, stage)
    resumed: dict[str, Any] = {}
    batches = count_batches(lambda: resumed.update(resume_run(folder_of(keys))))
    assert batches == 7 * (1 + 3)
    assert 1e4 < resumed["pretrain_seconds"] < 2e4  # with the part before the interruption
    assert_same_end(resumed, whole)
    assert_same_end(start("InfoDCL", keys), whole)  # from the cache


def test_gradients_of_generators_are_clipped(settings: Callable[..., dict[str, Any]]) -> None:
    """To nothing, by which all weights stay that the generators' own optimiser moves."""

    def moved(**keys: Any) -> float:
        run = Run(Config("DiffMM", "planted", (), settings("DiffMM", "runs", **keys)))
        trainer = run.make_trainer(Path(keys.pop("folder", ".")))
        before = [p.detach().clone() for p in run.network.generators.parameters()]
        run.network.train()
        trainer._train_generator("one", 0)
        after = list(run.network.generators.parameters())
        return max((a - b).abs().max().item() for a, b in zip(after, before, strict=True))

    assert moved(clip_grad_norm={"max_norm": 1e-6}, learner="sgd") < 1e-5 < moved(learner="sgd")


@pytest.mark.parametrize("key", ["data_hash", "split_hash"])
def test_cached_embeddings_are_those_of_the_data(
    settings: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """Of two data sets, or splits, that are alike in all settings."""
    trained: list[str] = []

    def train(config: Any, *_others: Any) -> pretrain.Stage:
        trained.append(config[key])
        return pretrain.Stage(np.ones((41, 8), np.float32), np.ones((31, 8), np.float32), 0.0)

    monkeypatch.setattr(pretrain, "_train", train)
    config = Config("InfoDCL", "planted", (), settings("InfoDCL", "runs"))
    dataset = SimpleNamespace(_dataset=SimpleNamespace(user_num=41, item_num=31))
    config["embedding_size"], config["split_hash"], config["data_hash"] = 8, "same", "same"
    for value in ("one", "other", "one"):
        config[key] = value
        pretrain.lightgcn_embeddings(config, dataset, None)
    assert trained == ["one", "other"]


@pytest.mark.parametrize("is_there", [True, False])
def test_a_run_without_its_best_epoch_is_not_trained_on(
    settings: Callable[..., dict[str, Any]], is_there: bool
) -> None:
    keys = settings("BPR", "stopped")
    with interruption(15):
        start("BPR", keys)
    best = folder_of(keys) / "best.pth"
    content = bytearray(best.read_bytes())
    content[len(content) // 2] ^= 4
    best.write_bytes(content)
    if not is_there:
        best.unlink()
    before = contents(folder_of(keys))
    with pytest.raises(UserError, match=r"best\.pth: .*; without its best epoch"):
        resume_run(folder_of(keys))
    before.pop(folder_of(keys) / "run.log", None)
    after = contents(folder_of(keys))
    assert {path: after[path] for path in before} == before


def test_a_history_that_lost_an_epoch_is_told(
    settings: Callable[..., dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    keys = settings("BPR", "stopped")
    with interruption(15):
        start("BPR", keys)
    history = folder_of(keys) / "history.jsonl"
    history.write_text("".join(history.read_text().splitlines(keepends=True)[1:]))
    resume_run(folder_of(keys))
    assert f"{history}: lacks 1 of 2 epochs (0)" in caplog.text
    analyze(folder_of(keys))
    assert f"{history}: lacks 1 of 3 epochs (0)" in caplog.text
    page = (folder_of(keys) / "analysis" / "report.html").read_text()
    assert "lacks 1 of 3 epochs" in page


@pytest.mark.parametrize("damage", ["bytes", "settings", "values"])
def test_cached_embeddings_of_others_are_not_taken(
    settings: Callable[..., dict[str, Any]], caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    keys = settings("InfoDCL", "first")
    whole = start("InfoDCL", keys)
    (cached,) = Path(keys["output_dir"]).glob("cache/lightgcn-*.pth")
    content = read_checkpoint(cached)
    if damage == "bytes":
        raw = bytearray(cached.read_bytes())
        raw[len(raw) // 2] ^= 4
        cached.write_bytes(raw)
    else:
        content["settings"]["pretrain_n_layers"] = 7
        content["item_embedding"][3] = np.nan
        kept = "settings" if damage == "values" else "item_embedding"
        save_checkpoint(cached, {**content, kept: read_checkpoint(cached)[kept]})
    again = start("InfoDCL", keys)
    assert_same_end(again, whole)
    assert f"training them anew: checkpoint {cached}" in caplog.text
    assert read_checkpoint(cached)["settings"]["pretrain_n_layers"] != 7


def count_batches(call: Callable[[], Any]) -> int:
    seen: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunTrainer, "_check_nan", lambda self, loss: seen.append(loss.item()))
        call()
    return len(seen)


@pytest.mark.parametrize("keys", [{"epochs": 3}, {"epochs": 9, "learning_rate": 0.0}])
def test_run_that_was_stopped_after_its_last_epoch(
    settings: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any]
) -> None:
    """By its number of epochs, or by early stopping: nothing is trained, the best epoch stands."""
    keys = {**keys, "stopping_step": 2}
    whole = start("BPR", settings("BPR", "whole", **keys))
    assert whole["epochs_trained"] < 9
    stopped = settings("BPR", "stopped", **keys)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "evaluate", raise_interrupt)
        with pytest.raises(KeyboardInterrupt):
            start("BPR", stopped)
    resumed: dict[str, Any] = {}
    assert count_batches(lambda: resumed.update(resume_run(folder_of(stopped)))) == 0
    assert_same_end(resumed, whole)


def test_patience_that_is_just_used_up_lets_one_more_epoch_pass(
    settings: Callable[..., dict[str, Any]],
) -> None:
    """Stopped after the last validation that may pass without a better one."""
    keys = {"epochs": 9, "learning_rate": 0.0, "stopping_step": 2}
    whole = start("BPR", settings("BPR", "whole", **keys))
    assert whole["epochs_trained"] == 4
    stopped = settings("BPR", "stopped", **keys)

    def stop(epoch: int, score: float) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_recbole_diffusion("BPR", "planted", (), stopped, on_validation=stop)
    assert_same_end(resume_run(folder_of(stopped)), whole)


@pytest.mark.parametrize(("keys", "epoch"), [({"eval_step": 0}, 2), ({"epochs": 1}, 0)])
@pytest.mark.parametrize("file", ["best.pth", "last.pth"])
def test_run_that_was_stopped_between_its_checkpoints(
    settings: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    keys: dict[str, Any],
    epoch: int,
    file: str,
) -> None:
    """After the best or the last checkpoint of its last epoch, with validation and without."""
    whole = start("BPR", settings("BPR", "whole", **keys))

    def save_and_stop(path: Any, content: dict[str, Any]) -> None:
        save_checkpoint(path, content)
        if Path(path).name == file and content["epoch"] == epoch:
            raise KeyboardInterrupt

    stopped = settings("BPR", "stopped", **keys)
    with monkeypatch.context() as patch:
        patch.setattr(saving, "save_checkpoint", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            start("BPR", stopped)
    assert_same_end(resume_run(folder_of(stopped)), whole)


def test_two_processes_do_not_write_one_run(settings: Callable[..., dict[str, Any]]) -> None:
    keys = settings("BPR", "stopped")
    with interruption(9):
        start("BPR", keys)
    before = contents(folder_of(keys))
    with (
        sole_writer(folder_of(keys) / LOCK),
        pytest.raises(UserError, match="another process is running there"),
    ):
        resume_run(folder_of(keys))
    assert contents(folder_of(keys)) == before
    assert resume_run(folder_of(keys))["epochs_trained"] == 3


def test_rows_in_another_order_are_other_data(
    settings: Callable[..., dict[str, Any]], write_dataset: Callable[..., Path]
) -> None:
    """Of a given split, whose pairs, ids and therefore split hash stay the same."""
    rows = [(f"u{u}", f"i{(u + k) % 30}", str(k)) for u in range(40) for k in range(10)]
    head = ("user_id:token", "item_id:token", "timestamp:float")
    parts = {
        "given__train": [head, *(r for r in rows if int(r[2]) < 8)],
        "given__valid": [head, *(r for r in rows if r[2] == "8")],
        "given__test": [head, *(r for r in rows if r[2] == "9")],
    }
    path = write_dataset("mine", **{k.replace("given__", ""): v for k, v in parts.items()})
    keys = settings(
        "BPR", "stopped", data_path=str(path), topk=[5], valid_metric="Recall@5",
        benchmark_filename=["train", "valid", "test"], train_batch_size=64,
        load_col={"inter": ["user_id", "item_id", "timestamp"]},
    )  # fmt: skip
    for name in ("train", "valid", "test"):
        (path / "mine" / f"mine.{name}").rename(path / "mine" / f"mine.{name}.inter")
    with interruption(9):
        run_recbole_diffusion("BPR", "mine", config_dict=keys)
    train = path / "mine" / "mine.train.inter"
    *rest, last_but_one, last = train.read_text().splitlines()
    train.write_text("\n".join([*rest, last, last_but_one]) + "\n")
    with pytest.raises(UserError, match="found data_hash"):
        resume_run(folder_of(keys))


def raise_interrupt(*args: Any) -> None:
    raise KeyboardInterrupt


def test_checkpoint_stands_until_the_next_is_complete(
    settings: Callable[..., dict[str, Any]],
) -> None:
    keys = settings("BPR", "stopped")
    with interruption(9):
        start("BPR", keys)
    files = {name: (folder_of(keys) / name).read_bytes() for name in ("last.pth", "best.pth")}
    dead = 2**22 + 1  # above the largest number of a process
    (folder_of(keys) / f".recbole-diffusion-last.pth-{dead}.tmp").write_bytes(b"half")
    with interruption(5):
        resume_run(folder_of(keys))
    for name, content in files.items():
        assert (folder_of(keys) / name).read_bytes() == content
    assert not list(folder_of(keys).glob(".*"))


@pytest.mark.parametrize("part", ["generators", "batch_order", "learners", "attributes"])
def test_every_part_of_the_state_counts(
    settings: Callable[..., dict[str, Any]], left_alone: Callable[..., dict[str, Any]], part: str
) -> None:
    """Without any one of them a resumed MultiVAE ends elsewhere, so that the tests above bite."""
    whole = left_alone("MultiVAE")
    keys = settings("MultiVAE", "stopped")
    with interruption(8):  # the second epoch's first
        start("MultiVAE", keys)
    last = folder_of(keys) / "last.pth"
    saved, fresh = read_checkpoint(last), read_checkpoint(last)
    seed_state = torch.Generator().manual_seed(1).get_state()
    if part == "attributes":
        fresh["attributes"] = {}
    elif part == "learners":
        fresh["training"]["learners"]["optimizer"]["state"] = {}
    elif part == "generators":
        fresh["training"]["generators"]["torch"] = seed_state
    else:
        fresh["training"]["batch_order"] = seed_state
    save_checkpoint(last, fresh)
    broken = read_checkpoint(Path(resume_run(folder_of(keys))["run_folder"]) / "last.pth")
    expected = read_checkpoint(Path(whole["run_folder"]) / "last.pth")["state_dict"]
    assert any(not torch.equal(v, expected[k]) for k, v in broken["state_dict"].items())
    assert saved["epoch"] == 0


def test_ended_run_is_told_without_its_last_epoch(
    settings: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    keys = settings("BPR", "ended", state="WARNING")
    result = start("BPR", keys)
    (folder_of(keys) / "last.pth").unlink()
    assert resume_run(folder_of(keys))["test"] == result["test"]
    path = folder_of(keys) / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "test": {"recall@20": {}}}))
    with pytest.raises(UserError, match=r"result\.json: .*without this file --resume evaluates"):
        resume_run(folder_of(keys))


def test_ended_run_is_told_and_left_as_it_is(
    settings: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    keys = settings("BPR", "ended", state="WARNING")
    result = start("BPR", keys)
    assert "recall@20" in capsys.readouterr().out
    files = contents(folder_of(keys))
    assert resume_run(folder_of(keys)) == result
    assert "recall@20" in capsys.readouterr().out
    assert contents(folder_of(keys)) == files


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_run_can_be_moved(settings: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    whole = start("BPR", settings("BPR", "whole"))
    keys = settings("BPR", "stopped")
    with interruption(9):
        start("BPR", keys)
    shutil.move(folder_of(keys), tmp_path / "moved")
    shutil.copytree(keys["data_path"], tmp_path / "elsewhere")
    resumed = resume_run(tmp_path / "moved", {"data_path": str(tmp_path / "elsewhere")})
    assert_same_end(resumed, whole)


def pasted(told: str) -> Config:
    """Settings of the run whose command a text ends with."""
    words = shlex.split(told.partition("new run: python -m recbole_diffusion ")[2])
    keys = parse_arguments(words)
    return Config(
        keys.pop("model"), keys.pop("dataset"), split_files(keys.pop("config_files")), keys
    )


@pytest.mark.parametrize(
    ("model", "changes", "longer"),
    [
        ("BPR", {"epochs": 2}, {"epochs": 4}),
        ("BPR", {"epochs": 9, "stopping_step": 1, "learning_rate": 1e-9}, {"stopping_step": 2}),
        ("EASE", {"epochs": 2}, None),
    ],
)
def test_ended_run_tells_that_nothing_is_done_and_how_to_train_longer(
    settings: Callable[..., dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
    model: str,
    changes: dict[str, Any],
    longer: dict[str, Any] | None,
) -> None:
    keys = settings(model, "ended", **changes)
    start(model, keys)
    capsys.readouterr()
    resume_run(folder_of(keys))
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("this run is complete, nothing was done")
    if longer is None:
        assert last.endswith("done")
        return
    started = pasted(last)
    assert {key: started[key] for key in changes} == {**changes, **longer}


@pytest.mark.parametrize("call", [resume_run, evaluate_run])
def test_what_cannot_be_gone_on_with(
    settings: Callable[..., dict[str, Any]], tmp_path: Path, call: Callable[..., Any]
) -> None:
    with pytest.raises(UserError, match=r"nowhere.*expected the folder of a run"):
        call(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds no (last|best)\.pth"):
        call(tmp_path / "empty")
    keys = settings("BPR", "stopped")
    with interruption(9):
        start("BPR", keys)
    with pytest.raises(
        UserError, match=r"found epochs, seed beside it, expected at most data_path"
    ) as error:
        call(folder_of(keys), {"epochs": 5, "seed": 1})
    started = pasted(str(error.value))
    assert (started["epochs"], started["seed"]) == (5, 1)
    save_checkpoint(tmp_path / "empty" / "last.pth", {"user_embedding": torch.zeros(1)})
    save_checkpoint(tmp_path / "empty" / "best.pth", {"user_embedding": torch.zeros(1)})
    with pytest.raises(UserError, match=r"\.pth: not of a run"):
        call(tmp_path / "empty")


@pytest.mark.parametrize("call", [resume_run, evaluate_run])
def test_changed_data_are_refused(
    settings: Callable[..., dict[str, Any]], tmp_path: Path, call: Callable[..., Any]
) -> None:
    keys = settings("BPR", "stopped")
    shutil.copytree(Path(keys["data_path"]) / "planted", tmp_path / "data" / "planted")
    with interruption(9):
        start("BPR", {**keys, "data_path": str(tmp_path / "data")})
    inter = tmp_path / "data" / "planted" / "planted.inter"
    lines = inter.read_text().splitlines()
    inter.write_text("\n".join(lines[:-1]) + "\n")
    before = contents(folder_of(keys))
    with pytest.raises(UserError, match="split_hash"):
        call(folder_of(keys))
    before.pop(folder_of(keys) / "run.log")
    after = contents(folder_of(keys))
    assert {path: after[path] for path in before} == before


@pytest.mark.slow
@pytest.mark.skipif(not SCRIPT.is_file(), reason="the script is in the repository only")
def test_killed_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The short form of ``benchmarks/kill_and_resume.py``."""
    keys = {"epochs": 12, "stopping_step": 12, "train_batch_size": 128}
    keys |= {"pretrain_epochs": 6, "pretrain_batch_size": 128}
    words = [f"--{key}={value}" for key, value in keys.items()]
    words += ["--model=InfoDCL", "--dataset=planted", "--rounds=1", f"--output={tmp_path}"]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *words])
    monkeypatch.syspath_prepend(SCRIPT.parent)
    script = import_module("kill_and_resume")
    monkeypatch.setattr(script, "start", partial(Served, script.SCRIPT))
    code = script.main()
    out = capsys.readouterr().out
    assert code == 0, out
    assert out.count(": equal") == 1


def test_plain_host_cannot_go_on(
    settings: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file is read in its own process alone, and lacks most of the state."""
    trainer, split = scored(settings("BPR", "run"), "BPR", tmp_path)
    host = Trainer(trainer.config, trainer.model)
    host.config = dict(trainer.config.final_config_dict)
    host._save_checkpoint(0, verbose=False)
    with monkeypatch.context() as patch:
        patch.setattr(habits, "_written", set())  # as in another process
        with pytest.raises(UserError, match="holds pickled objects"):
            host.resume_checkpoint(host.saved_model_file)
    monkeypatch.setattr(torch, "load", partial(torch.load, weights_only=False))
    saved = torch.load(host.saved_model_file)
    assert not {"generators", "batch_order", "best_valid_result"} & set(saved)
    resumed = Trainer(trainer.config, trainer.model)
    resumed.resume_checkpoint(host.saved_model_file)
    assert resumed.saved_model_file == host.saved_model_file  # to be overwritten
    assert resumed.best_valid_result is None


# Parts of the state


class Part(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.count, self.name, self.empty = 0, "a", None
        self.history, self.table = torch.zeros(3), np.zeros(2)
        self.untouched = torch.zeros(2)
        self._cache = 1


def test_only_changed_attributes_are_kept() -> None:
    model = nn.ModuleDict({"part": Part()})
    attributes = ModelAttributes(model)
    assert attributes.changed() == {}
    model["part"].eval()
    model["part"]._cache = 2
    assert attributes.changed() == {}
    part = model["part"]
    part.count, part.empty, part.added = 3, torch.ones(1), 0.5
    part.history[1] = 2.0
    part.table[0] = 1.0
    changed = attributes.changed()
    names = ("count", "empty", "added", "history", "table")
    assert set(changed) == {f"part.{name}" for name in names}

    fresh = nn.ModuleDict({"part": Part()})
    restored = ModelAttributes(fresh)
    fresh["part"].name = "b"
    restored.restore(changed)
    for name in names:
        assert_same(getattr(fresh["part"], name), changed[f"part.{name}"], name)
    assert fresh["part"].name == "a"
    assert set(restored.changed()) == set(changed)


def test_write_in_place_after_the_best_epoch_is_undone() -> None:
    model = nn.ModuleDict({"part": Part()})
    attributes = ModelAttributes(model)
    best = attributes.changed()
    model["part"].history[0] = 7.0
    model["part"].table[1] = 7.0
    model["part"].added = 1.0
    model["part"].words = np.array(["a", "b"])  # nothing that a checkpoint could hold
    assert set(attributes.changed()) == {"part.history", "part.table", "part.added"}
    attributes.restore(best)
    assert model["part"].history.tolist() == [0, 0, 0]
    assert model["part"].table.tolist() == [0, 0]
    assert not hasattr(model["part"], "added")


def test_part_that_was_made_in_training_keeps_what_made_it() -> None:
    model = nn.ModuleDict()
    attributes = ModelAttributes(model)
    model["part"] = Part()
    model["part"].count = 4
    attributes.restore({"part.count": 9})
    assert (model["part"].count, model["part"].name) == (9, "a")


def test_learners_are_found_once_each() -> None:
    class Some:
        pass

    some = Some()
    weights = [nn.Parameter(torch.zeros(1))]
    some.optimizer = torch.optim.Adam(weights)
    some.other = torch.optim.SGD(weights, lr=0.1)
    some.optimizer_again = some.optimizer
    some.scheduler = torch.optim.lr_scheduler.StepLR(some.other, 2)
    assert set(learners(some)) == {"optimizer_again", "other", "scheduler"}


class Scheduled(DiffusionTrainer):
    """Halves the learning rate after each epoch, and draws from all global generators."""

    def __init__(self, config: Any, model: Any) -> None:
        super().__init__(config, model)
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.5)

    def _train_epoch(self, *args: Any, **kwargs: Any) -> Any:
        losses = super()._train_epoch(*args, **kwargs)
        self.scheduler.step()
        return losses


class ScheduledBPR(BPR):
    pass


def test_schedulers_go_on(
    settings: Callable[..., dict[str, Any]], own_registry: None, tmp_path: Path
) -> None:
    (tmp_path / "scheduled.yaml").write_text("embedding_size: 8\n")
    register(ScheduledBPR, Scheduled, properties=tmp_path / "scheduled.yaml")
    whole = start("ScheduledBPR", settings("BPR", "whole"))
    keys = settings("BPR", "stopped")
    with interruption(17):
        start("ScheduledBPR", keys)
    assert_same_end(resume_run(folder_of(keys)), whole)
    saved = read_checkpoint(folder_of(keys) / "last.pth")["training"]["learners"]
    assert saved["scheduler"]["last_epoch"] == 3


# Evaluation of a saved run

COUNTS = ["Recall", "NDCG", "ItemCoverage", "GiniIndex", "AveragePopularity", "ShannonEntropy"]


@pytest.mark.compat
@pytest.mark.parametrize("model", [*MODELS, "EASE", "ItemKNN", "Pop", "Random", "recbole.DiffRec"])
def test_saved_run_gives_its_numbers_again(
    settings: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    model: str,
) -> None:
    keys = settings(model, "run", metrics=[*COUNTS, "TailPercentage"])
    result = start(model, keys)
    table = capsys.readouterr().out
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    files = contents(folder_of(keys))
    again = evaluate_run(folder_of(keys))
    for key in ("valid", "test", "best_epoch", "split_hash", "model", "run_folder"):
        assert again[key] == result[key], key
    printed = [line for line in capsys.readouterr().out.splitlines() if "@" in line]
    assert printed == [line for line in table.splitlines() if line in printed]
    assert len(printed) == 3 * 7
    assert contents(folder_of(keys)) == files
    assert not list((tmp_path / "empty").iterdir())


def test_plain_host_cannot_score_a_loaded_model_by_counts(
    settings: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Its collector is filled in ``fit`` alone; here by whoever makes the trainer."""
    keys = settings("BPR", "run", metrics=COUNTS)
    start("BPR", keys)
    config = saved_config("--evaluate", folder_of(keys), "best.pth", None)
    run = Run(config)
    config["checkpoint_dir"] = str(tmp_path)
    host = Trainer(config, run.network)
    with pytest.raises((KeyError, IndexError), match="without registration"):
        host.evaluate(run.split.test, load_best_model=False)
    assert run.make_trainer(tmp_path).evaluate(run.split.test, load_best_model=False)


def test_interrupted_run_can_be_scored(settings: Callable[..., dict[str, Any]]) -> None:
    keys = settings("BPR", "stopped")
    with interruption(9):
        start("BPR", keys)
    assert 0 < evaluate_run(folder_of(keys))["test"]["recall@50"] < 1


# Scoring


def scored(keys: dict[str, Any], model: str, folder: Path) -> tuple[Any, Any]:
    """A trainer on a fresh model, and the split."""
    run = Run(Config(model, "planted", (), keys))
    return run.make_trainer(folder), run.split


def test_sampled_candidates_are_the_same_in_every_validation(
    settings: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    sampled = {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "group_by": "user", "mode": "uni20"}
    keys = settings("BPR", "run", eval_args=sampled, topk=[5], valid_metric="Recall@5")
    trainer, split = scored(keys, "BPR", tmp_path)
    before = np.random.get_state()[1].copy()
    first, second = (trainer.evaluate(split.valid, load_best_model=False) for _ in range(2))
    assert first == second
    assert np.array_equal(np.random.get_state()[1], before)
    host = Trainer(trainer.config, trainer.model)
    first, second = (host.evaluate(split.valid, load_best_model=False) for _ in range(2))
    assert first != second  # the plain host draws others each time


class Failing(BPR):
    def full_sort_predict(self, interaction: Any) -> torch.Tensor:
        raise NotImplementedError("inside the scoring")


class PairsOnly(BPR):
    full_sort_predict = None  # set below: what the host's base class has


PairsOnly.full_sort_predict = BPR.__mro__[2].full_sort_predict


class NotANumber(BPR):
    def full_sort_predict(self, interaction: Any) -> torch.Tensor:
        return super().full_sort_predict(interaction) * float("nan")


def test_error_in_scoring_is_an_error(
    settings: Callable[..., dict[str, Any]], own_registry: None, tmp_path: Path
) -> None:
    register(Failing)
    trainer, split = scored(settings("BPR", "run", embedding_size=8), "Failing", tmp_path)
    with pytest.raises(NotImplementedError, match="inside the scoring"):
        trainer.evaluate(split.valid, load_best_model=False)
    host = Trainer(trainer.config, trainer.model)
    assert host.evaluate(split.valid, load_best_model=False)["recall@20"] > 0  # hidden there


def test_model_of_pairs_alone_is_scored_pair_by_pair(
    settings: Callable[..., dict[str, Any]], own_registry: None, tmp_path: Path
) -> None:
    register(PairsOnly)
    keys = settings("BPR", "run", eval_batch_size=1000)
    pairs, split = scored({**keys, "embedding_size": 64}, "PairsOnly", tmp_path)
    rows, _ = scored(keys, "BPR", tmp_path)
    pairs.model.load_state_dict(rows.model.state_dict())
    expected = rows.evaluate(split.test, load_best_model=False)
    assert pairs.evaluate(split.test, load_best_model=False) == pytest.approx(expected, abs=1e-9)


def test_scores_that_are_no_numbers_are_refused(
    settings: Callable[..., dict[str, Any]], own_registry: None, tmp_path: Path
) -> None:
    register(NotANumber)
    trainer, split = scored(settings("BPR", "run", embedding_size=8), "NotANumber", tmp_path)
    with pytest.raises(UserError, match="NotANumber: scores are NaN after 0 epochs"):
        trainer.evaluate(split.valid, load_best_model=False)
    host = Trainer(trainer.config, trainer.model)
    assert host.evaluate(split.valid, load_best_model=False)["recall@20"] >= 0  # ranks them there


class MaskedNotANumber(BPR):
    def full_sort_predict(self, interaction: Any) -> torch.Tensor:
        scores = super().full_sort_predict(interaction).view(len(interaction), -1)
        scores[MASKED] = float("nan")
        return scores


MASKED: Any = None  # set in the test: rows and columns


def test_a_masked_score_need_not_be_a_number(
    settings: Callable[..., dict[str, Any]],
    own_registry: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register(MaskedNotANumber)
    keys = settings("BPR", "run", embedding_size=8, eval_batch_users=1000)
    trainer, split = scored(keys, "MaskedNotANumber", tmp_path)
    ((_, masked, found_u, found_i),) = list(split.test)
    monkeypatch.setitem(globals(), "MASKED", (found_u[:0], found_i[:0]))
    expected = trainer.evaluate(split.test, load_best_model=False)
    monkeypatch.setitem(globals(), "MASKED", masked)
    assert trainer.evaluate(split.test, load_best_model=False) == expected
    monkeypatch.setitem(globals(), "MASKED", (found_u[:1], found_i[:1]))
    with pytest.raises(UserError, match="scores are NaN"):
        trainer.evaluate(split.test, load_best_model=False)


# Settings of another version


@pytest.mark.parametrize("call", [resume_run, evaluate_run])
def test_saved_key_that_nothing_reads_any_more_is_dropped_and_told(
    planted: dict[str, Any], caplog: pytest.LogCaptureFixture, call: Callable[..., Any]
) -> None:
    folder = Path(run_recbole_diffusion("BPR", "planted", (), planted)["run_folder"])
    change_settings(folder, retired_depth=3)
    caplog.clear()
    call(folder)
    told = [r.getMessage() for r in caplog.records if "retired_depth" in r.getMessage()]
    assert len(told) == 1
    assert str(folder) in told[0]
    assert "which nothing reads any more" in told[0]


@pytest.mark.parametrize("call", [resume_run, evaluate_run])
def test_saved_value_that_does_not_serve_names_the_checkpoint(
    planted: dict[str, Any], call: Callable[..., Any]
) -> None:
    folder = Path(run_recbole_diffusion("BPR", "planted", (), planted)["run_folder"])
    change_settings(folder, train_batch_size=0)
    with pytest.raises(UserError, match=r"^checkpoint .*\.pth: key `train_batch_size`: found 0"):
        call(folder)
    change_settings(folder, train_batch_size=256)
    with pytest.raises(UserError, match="^command line: key `verbose`: found 5"):
        call(folder, {"verbose": 5})


def test_run_of_before_the_key_keeps_recboles_draws(planted: dict[str, Any]) -> None:
    folder = Path(run_recbole_diffusion("BPR", "planted", (), planted)["run_folder"])
    assert saved_config("resume_run", folder, "last.pth", None)["negative_sampler"] == "vectorised"
    content = read_checkpoint(folder / "last.pth")
    del content["settings"]["negative_sampler"]
    save_checkpoint(folder / "last.pth", content)
    assert saved_config("resume_run", folder, "last.pth", None)["negative_sampler"] == "recbole"


def change_settings(folder: Path, **settings: Any) -> None:
    for path in (folder / "last.pth", folder / "best.pth"):
        content = read_checkpoint(path)
        content["settings"] |= settings
        save_checkpoint(path, content)

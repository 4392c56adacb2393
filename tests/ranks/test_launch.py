"""What the environment says of a launch, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import recbole_diffusion
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.launch import Launch, read_launch, threads_of_a_rank
from recbole_diffusion.base.ranks import Ranks, current_ranks
from recbole_diffusion.commands.cli import main
from recbole_diffusion.runs.quick_start import run_in_folder
from recbole_diffusion.settings.config import Config
from recbole_diffusion.training.loss_forms import refuse_unshared
from recbole_diffusion.training.shared import SharedTraining, sum_gradients

LAUNCHED = {"RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in LAUNCHED.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_without_a_launch_there_is_one_process(monkeypatch):
    assert read_launch() == Launch(0, 1, 0, 1)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert read_launch() == Launch(0, 1, 0, 1)
    assert current_ranks().size == 1


def test_a_launch_is_read_from_the_environment(launched):
    assert read_launch() == Launch(rank=1, size=4, local_rank=1, local_size=4)
    launched.setenv("LOCAL_WORLD_SIZE", "2")
    launched.setenv("RANK", "3")
    assert read_launch() == Launch(rank=3, size=4, local_rank=1, local_size=2)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("RANK", None, "WORLD_SIZE: found 4 without RANK"),
        ("MASTER_PORT", None, "without MASTER_PORT, expected a launch by torchrun"),
        ("RANK", "4", "RANK: found '4', expected 0..3"),
        ("WORLD_SIZE", "two", "WORLD_SIZE: found 'two', expected >= 1"),
        ("LOCAL_RANK", "-1", "LOCAL_RANK: found '-1', expected 0..3"),
        ("LOCAL_WORLD_SIZE", "5", "LOCAL_WORLD_SIZE: found '5', expected 1..4"),
    ],
)
def test_a_launch_that_is_not_understood_is_refused(launched, name, value, told):
    if value is None:
        launched.delenv(name)
    else:
        launched.setenv(name, value)
    with pytest.raises(UserError, match=told):
        recbole_diffusion.run_recbole_diffusion("BPR", "planted")


@pytest.mark.parametrize(
    "words", [["compare", "--models=BPR,EASE"], ["tune", "--model=BPR"], ["recommend", "runs/x"]]
)
def test_commands_that_share_nothing_are_refused(launched, capsys, words):
    assert main(words) == 2
    assert f"the command {words[0]}: found a launch of 4 processes" in capsys.readouterr().err


def test_a_run_of_a_comparison_is_refused(launched, tmp_path):
    with pytest.raises(UserError, match="comparison or search: found a launch of 4"):
        run_in_folder(tmp_path, "BPR", "planted", {}, lambda *_: None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("threads", "by_torchrun", "expected"),
    [(None, False, "share"), ("1", False, None), ("3", True, None), ("1", True, "share")],
)
def test_cores_are_shared_out_unless_the_user_says_how_many(
    monkeypatch, threads, by_torchrun, expected
):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setattr("recbole_diffusion.base.launch.cores", lambda: 16)
    if threads is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
    if by_torchrun:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    found = threads_of_a_rank(Launch(0, 6, 0, 3))
    assert found == (5 if expected == "share" else None)


def test_a_gpu_rank_takes_the_gpu_of_its_place_on_the_machine(launched, monkeypatch, planted):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert Config("BPR", "planted", (), planted)["device"] == torch.device("cuda", 1)
    launched.setenv("RANK", "2")
    with pytest.raises(UserError, match="LOCAL_RANK: found 2, but 2 GPUs"):
        Config("BPR", "planted", (), planted)


@pytest.mark.parametrize(
    ("model", "settings", "told"),
    [
        ("LINE", {}, "draws users from a list"),
        ("RaCT", {}, "normalises a batch"),
        ("RecVAE", {"clip_grad_norm": {"max_norm": 1.0}}, "`clip_grad_norm`: found"),
    ],
)
def test_what_shares_would_train_to_something_else_is_refused(planted, model, settings, told):
    config = Config(model, "planted", (), {**planted, **settings})
    with pytest.raises(UserError, match=f"model {model} on several processes: .*{told}"):
        refuse_unshared(nn.Linear(1, 1), config)


def test_a_model_that_normalises_batches_is_refused(planted):
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    with pytest.raises(UserError, match="its `1` normalises a batch"):
        refuse_unshared(model, Config("BPR", "planted", (), planted))


class TwoRanks(Ranks):
    """As seen from rank 0: what rank 1 has is given."""

    def __init__(self, other: torch.Tensor) -> None:
        super().__init__(0, 2)
        self.other = other

    def gathered(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        return [tensor, self.other]

    def sum_(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.add_(self.other)


def state_of(model: nn.Module, planted: dict[str, Any], **attributes: Any) -> torch.Tensor:
    """What a rank tells of its state."""
    told: list[torch.Tensor] = []

    class Listening(TwoRanks):
        def gathered(self, tensor: torch.Tensor) -> list[torch.Tensor]:
            told.append(tensor)
            return [tensor, tensor]

    config = Config("BPR", "planted", (), planted)
    SharedTraining(Listening(torch.zeros(0)), model, config).check_alike(attributes)
    return told[0]


@pytest.mark.parametrize(
    ("change", "name"),
    [("weight", "weight"), ("count", "count"), ("more", "which attributes it has")],
)
def test_state_that_differs_between_ranks_ends_the_run(planted, change, name):
    model = nn.Linear(2, 3)
    attributes: dict[str, Any] = {"count": 2}
    other = nn.Linear(2, 3)
    other.load_state_dict(model.state_dict())
    others = {**attributes}
    if change == "weight":
        other.weight.data[2, 1] += 1e-6
    elif change == "count":
        others["count"] = 3
    else:
        others["seen"] = 1
    ranks = TwoRanks(state_of(other, planted, **others))
    config = Config("BPR", "planted", (), planted)
    shared = SharedTraining(ranks, model, config)
    told = f"model Linear on several processes: {name} differs between ranks 0 and 1"
    with pytest.raises(UserError, match=told):
        shared.check_alike(attributes)
    SharedTraining(TwoRanks(state_of(model, planted, **attributes)), model, config).check_alike(
        attributes
    )


def test_gradients_are_summed_and_a_parameter_without_any_stays_so():
    used, unused, elsewhere = (nn.Parameter(torch.zeros(2)) for _ in range(3))
    used.grad = torch.tensor([1.0, 2.0])
    # Of rank 1: three gradients in one row, and behind them which it has.
    ranks = TwoRanks(torch.tensor([10.0, 20.0, 0.0, 0.0, 5.0, 6.0, 1.0, 0.0, 1.0]))
    sum_gradients([used, unused, elsewhere], ranks)
    assert used.grad.tolist() == [11.0, 22.0]
    assert unused.grad is None
    assert elsewhere.grad is not None
    assert elsewhere.grad.tolist() == [5.0, 6.0]


def test_the_watch_imports_no_pytorch():
    """Tests of it start many processes."""
    folder = Path(recbole_diffusion.__file__).parent / "base"
    assert "torch" not in (folder / "watch.py").read_text()
    assert "torch\n" not in (folder / "launch.py").read_text()

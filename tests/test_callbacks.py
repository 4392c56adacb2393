"""What callbacks are told of a run, and runs that they stop."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_diffusion import Callback, StopRun, refresh_run, resume_run, run_recbole_diffusion
from recbole_diffusion.training.history import read_history
from recbole_diffusion.training.trainer import RunTrainer


class Diary(Callback):
    """Keeps what it is told; stops after an epoch."""

    def __init__(self, last: int | None = None) -> None:
        self.last = last
        self.told: list[tuple[str, Any]] = []

    def on_start(self, folder: str, settings: Mapping[str, Any], is_resumed: bool) -> None:
        self.told.append(("start", (folder, dict(settings), is_resumed)))

    def on_epoch(self, epoch: Mapping[str, Any]) -> None:
        self.told.append(("epoch", dict(epoch)))
        if epoch["epoch"] == self.last:
            raise StopRun("enough")

    def on_validation(self, epoch: Mapping[str, Any]) -> None:
        self.told.append(("validation", dict(epoch)))

    def on_end(self, result: Mapping[str, Any] | None) -> None:
        self.told.append(("end", result))

    def kinds(self) -> list[tuple[str, Any]]:
        return [
            (kind, fact["epoch"]) for kind, fact in self.told if kind in ("epoch", "validation")
        ]


def run(planted: dict[str, Any], *callbacks: Callback, **keys: Any) -> dict[str, Any]:
    settings = {**planted, **keys}
    return run_recbole_diffusion("BPR", "planted", config_dict=settings, callbacks=callbacks)


def test_callbacks_are_told_what_the_history_holds(planted: dict[str, Any]) -> None:
    diary = Diary()
    result = run(planted, diary, epochs=3, eval_step=2, learning_rate=0.003)
    assert [diary.told[0][0], diary.told[-1][0]] == ["start", "end"]
    folder, settings, is_resumed = diary.told[0][1]
    assert (folder, is_resumed) == (result["run_folder"], False)
    assert (settings["learning_rate"], settings["eval_step"]) == (0.003, 2)
    assert diary.kinds() == [("epoch", 0), ("validation", 1), ("epoch", 1), ("epoch", 2)]
    history = read_history(folder)
    assert [fact for kind, fact in diary.told if kind == "epoch"] == [
        {**record, "folder": folder} for record in history
    ]
    assert history[0]["valid"] is None
    assert history[1]["valid"] == result["valid"]
    assert diary.told[-1][1] == result


def test_the_score_is_told_beside_callbacks(planted: dict[str, Any]) -> None:
    diary, scores = Diary(), []
    run_recbole_diffusion(
        "BPR",
        "planted",
        config_dict={**planted, "epochs": 2},
        on_validation=lambda *args: scores.append(args),
        callbacks=[diary],
    )
    valid = [fact for kind, fact in diary.told if kind == "validation"]
    assert scores == [(fact["epoch"], fact["valid"]["recall@20"]) for fact in valid]


@pytest.mark.parametrize("eval_step", [1, 3])
def test_a_run_that_a_callback_stops_ends_with_the_epochs_that_it_had(
    planted: dict[str, Any], eval_step: int
) -> None:
    diary = Diary(last=1)
    stopped = run(planted, diary, epochs=6, eval_step=eval_step)
    assert stopped["stopped"] == "enough"
    assert stopped["epochs_trained"] == 2
    whole = run(planted, epochs=2)
    if eval_step == 3:  # no validation chose, so the last one is scored
        assert stopped["best_epoch"] == 1
        whole = run(planted, epochs=2, eval_step=0)
    assert stopped["test"] == whole["test"]
    assert diary.told[-1][0] == "end"


def test_a_run_that_fails_tells_so(planted: dict[str, Any]) -> None:
    class Broken(Diary):
        def on_epoch(self, epoch: Mapping[str, Any]) -> None:
            raise ZeroDivisionError

    diary = Broken()
    with pytest.raises(ZeroDivisionError):
        run(planted, diary)
    assert diary.told[-1] == ("end", None)


@pytest.mark.usefixtures("saved_each_epoch")
def test_resumed_and_refreshed_runs_tell_too(
    planted: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupt(self: Any, loss: torch.Tensor) -> None:
        if self.epochs_trained == 2:
            raise KeyboardInterrupt

    diary = Diary()
    with monkeypatch.context() as patch:
        patch.setattr(RunTrainer, "_check_nan", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(planted, diary, epochs=3)
    assert diary.told[-1] == ("end", None)
    later = Diary()
    result = resume_run(diary.told[0][1][0], callbacks=[later])
    assert later.told[0][1][2] is True
    assert later.kinds() == [("validation", 2), ("epoch", 2)]
    again = Diary()
    newer = refresh_run(result["run_folder"], None, {"epochs": 1}, callbacks=[again])
    assert again.kinds() == [("validation", 0), ("epoch", 0)]
    assert again.told[-1][1] == newer

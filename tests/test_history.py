"""The history of a run: one line an epoch, each epoch once."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recbole.model.general_recommender import BPR

from recbole_diffusion import register, run_recbole_diffusion
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.training.history import FILE, append_epoch, keep_epochs, read_history
from recbole_diffusion.training.progress import sampled_ids


def record(epoch: int, loss: float = 0.5) -> dict[str, Any]:
    return {"epoch": epoch, "loss": loss, "terms": {}, "train_seconds": 1.0, "valid": None}


@pytest.mark.parametrize("change", [{"valid": "1e5"}, {"loss": None}, {"terms": 5}, {"epoch": "0"}])
def test_a_record_of_other_types_is_told(tmp_path: Path, change: dict[str, Any]) -> None:
    (tmp_path / FILE).write_text(json.dumps({**record(0), **change}) + "\n")
    with pytest.raises(UserError, match=r"history\.jsonl, line 1: found .* the record of an epoch"):
        read_history(tmp_path)


def history_of(model: str | type, planted: dict[str, Any], **keys: Any) -> list[dict[str, Any]]:
    result = run_recbole_diffusion(model, "planted", config_dict={**planted, **keys})
    return read_history(result["run_folder"])


def test_history_holds_what_the_result_says(planted: dict[str, Any]) -> None:
    keys = {**planted, "epochs": 3, "eval_step": 1, "channels": ["knowledge"], "pretrain_epochs": 1}
    result = run_recbole_diffusion("InfoDCL", "planted", config_dict=keys)
    history = read_history(result["run_folder"])
    assert [entry["epoch"] for entry in history] == [0, 1, 2]
    assert history[result["best_epoch"]]["valid"] == pytest.approx(result["valid"], abs=1e-12)
    seconds = sum(entry["train_seconds"] for entry in history)
    assert seconds == pytest.approx(3 * result["train_seconds_per_epoch"])
    for entry in history:
        assert list(entry["terms"]) == ["BPR", "L2", "reconstruction", "contrast", "balance"]
        assert sum(entry["terms"].values()) == pytest.approx(entry["loss"])
    # About bpr_weight times ln 2 while nothing is learned.
    assert history[0]["terms"]["BPR"] == pytest.approx(0.6 * np.log(2), abs=0.03)


def test_epochs_without_validation_have_lines_too(planted: dict[str, Any]) -> None:
    history = history_of("BPR", planted, epochs=3, eval_step=2)
    assert [entry["valid"] is None for entry in history] == [True, False, True]
    assert history[0]["terms"] == {}
    assert history[0]["loss"] == pytest.approx(np.log(2), abs=0.01)


@pytest.mark.usefixtures("own_registry")
def test_change_of_scores_is_the_relative_one(planted: dict[str, Any]) -> None:
    class Tripling(BPR):
        """Scores thrice as high in every epoch."""

        n_epochs_seen = 0

        def train(self, mode: bool = True) -> Any:
            self.n_epochs_seen += mode
            return super().train(mode)

        def full_sort_predict(self, interaction: Any) -> torch.Tensor:
            users = interaction[self.USER_ID]
            return torch.full((len(users), self.n_items), 3.0**self.n_epochs_seen)

    register(Tripling)
    keys = {"epochs": 3, "embedding_size": 4, "learning_rate": 0.01}
    history = history_of("Tripling", planted, **keys, log_diagnostics=True)
    assert [entry["diagnostics"] for entry in history] == [
        {},
        {"change_of_scores": 2.0},
        {"change_of_scores": 2.0},
    ]
    assert history_of("Tripling", planted, **keys)[2]["diagnostics"] == {}


def test_diagnostics_change_no_result(planted: dict[str, Any]) -> None:
    plain, logged = (
        run_recbole_diffusion(
            "BPR", "planted", config_dict={**planted, "epochs": 2, "log_diagnostics": is_logged}
        )
        for is_logged in (False, True)
    )
    assert (logged["valid"], logged["test"]) == (plain["valid"], plain["test"])
    change = read_history(logged["run_folder"])[1]["diagnostics"]["change_of_scores"]
    assert change > 0


def test_sampled_ids_leave_the_padding_out() -> None:
    users, items = sampled_ids(10, 100_000)
    assert users.tolist() == list(range(1, 10))
    assert (items[0], items[-1], len(items.unique())) == (1, 99_999, 4096)


def test_last_line_of_an_epoch_counts(tmp_path: Path) -> None:
    for entry in (record(0), record(1), record(2), record(1, 0.25)):
        append_epoch(tmp_path, entry)
    assert read_history(tmp_path) == [record(0), record(1, 0.25), record(2)]


def test_line_that_a_kill_cut_off_does_not_count(tmp_path: Path) -> None:
    append_epoch(tmp_path, record(0))
    with (tmp_path / FILE).open("a") as stream:
        stream.write(json.dumps(record(1))[:20])
    assert read_history(tmp_path) == [record(0)]
    keep_epochs(tmp_path, 1)
    append_epoch(tmp_path, record(1))
    assert read_history(tmp_path) == [record(0), record(1)]


def test_resumed_run_forgets_what_it_repeats(tmp_path: Path) -> None:
    for epoch in range(3):
        append_epoch(tmp_path, record(epoch))
    keep_epochs(tmp_path, 2)
    assert (tmp_path / FILE).read_text().count("\n") == 2


@pytest.mark.parametrize("line", ["no json", "[1]", '{"epoch": "0"}', '{"epoch": 0}'])
def test_foreign_line_is_refused(tmp_path: Path, line: str) -> None:
    append_epoch(tmp_path, record(0))
    with (tmp_path / FILE).open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(UserError, match=r"history\.jsonl, line 2: found .* expected the record"):
        read_history(tmp_path)


def test_run_without_history_has_none(tmp_path: Path) -> None:
    assert read_history(tmp_path) == []
    keep_epochs(tmp_path, 0)
    assert not (tmp_path / FILE).exists()

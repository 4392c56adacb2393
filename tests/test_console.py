"""What a run shows while it runs: a few lines that matter, and all the rest in its log."""

import json
import logging
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from recbole.model.general_recommender import Pop

from recbole_diffusion.base.log import answering, run_logger
from recbole_diffusion.commands.cli import main
from recbole_diffusion.settings.registry import register

METRICS = "[Recall, NDCG, Hit, MRR, Precision, MAP]"


def test_a_reader_that_goes_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        with run_logger(None, "info") as log:
            log.info("nobody reads this")
            log.info("nor this")


def test_logs_that_overlap_leave_nothing_behind(capsys: pytest.CaptureFixture[str]) -> None:
    """As those of runs that threads load at once, which end in any order."""
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    first, second = ExitStack(), ExitStack()
    first.enter_context(run_logger(None, "error"))
    second.enter_context(run_logger(None, "info"))
    root.info("of the second")
    first.close()
    root.info("of the second still")
    second.close()
    assert (list(root.handlers), root.level) == before
    assert capsys.readouterr().out.splitlines() == ["of the second", "of the second still"]


def test_messages_go_nowhere_where_stderr_is_closed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with answering() as answer:
        logging.getLogger().info("a message")
        answer("the answer")
    assert capsys.readouterr().out == "the answer\n"


def log_of(planted: dict[str, Any]) -> str:
    (path,) = Path(planted["output_dir"]).glob("*/run.log")
    return path.read_text()


def test_the_console_shows_what_matters(
    planted: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    keys = ["--model=LDiffRec", "--pretrain_epochs=2", "--embedding_size=8"]
    words = [f"--{key}={value}" for key, value in {**planted, "epochs": 3}.items()]
    assert main([*keys, "--dataset=planted", f"--metrics={METRICS}", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    epochs = [line for line in lines if "epoch " in line and ": loss" in line]
    assert len(epochs) == 2 + 3
    assert lines.index(epochs[0]) <= 12
    assert all(len(line) <= 100 for line in epochs)
    assert sum("Recall@20 " in line and "(best " in line for line in epochs) == 2
    for word in ("planted", "200 users", "split ", "LDiffRec", "cpu", str(tmp_path)):
        assert any(word in line for line in lines[:12]), word
    assert not any("HEAD_ENTITY_ID_FIELD" in line for line in lines)
    log = log_of(planted)
    assert "HEAD_ENTITY_ID_FIELD: head_id" in log
    assert "(best " not in log
    assert log.count("map@50 ") >= 2


@pytest.mark.parametrize("model", ["LinDiffRec", "EASE", "Pop"])
@pytest.mark.parametrize("verbose", [False, True])
def test_a_model_that_is_solved_has_no_loss_and_no_epochs(
    planted: dict[str, Any], capsys: pytest.CaptureFixture[str], model: str, verbose: bool
) -> None:
    words = [f"--{key}={value}" for key, value in {**planted, "epochs": 300}.items()]
    assert main([f"--model={model}", "--dataset=planted", f"--verbose={verbose}", *words]) == 0
    shown, _, table = capsys.readouterr().out.partition(f"{model} on planted, best epoch 0\n")
    lines = shown.partition("data: ")[2].splitlines()
    # The run folder's name holds a time and a random part, which may hold any digits.
    lines = [line for line in lines if not line.startswith("run folder: ")]
    told = "training: solved once, without epochs; measured by Recall@20 on validation"
    assert told in lines
    assert [line for line in lines if "epoch " in line or "300" in line or "loss" in line] == []
    (solved,) = (line for line in lines if line.startswith("solved"))
    assert ("validation recall@10" if verbose else "solved, Recall@20 0.") in solved
    assert "recall@20" in table
    (path,) = Path(planted["output_dir"]).glob("*/history.jsonl")
    assert json.loads(path.read_text())["epoch"] == 0
    log = log_of(planted)
    assert told in log
    assert " solved [" in log
    assert ": loss" not in log


def test_a_solved_model_of_the_users_own_trainer_has_its_epochs(
    planted: dict[str, Any], capsys: pytest.CaptureFixture[str], own_registry: None
) -> None:
    class Own(Pop):
        pass

    register(Own)
    words = [f"--{key}={value}" for key, value in {**planted, "epochs": 2}.items()]
    assert main(["--model=Own", "--dataset=planted", *words]) == 0
    shown = capsys.readouterr().out
    assert "training: at most 2 epochs" in shown
    assert shown.count(": loss ") == 2


def test_verbose_shows_the_log(planted: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"--{key}={value}" for key, value in {**planted, "epochs": 2}.items()]
    assert main(["--model=BPR", "--dataset=planted", "--verbose", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("HEAD_ENTITY_ID_FIELD" in line for line in lines)
    assert not any("(best " in line for line in lines)
    shown = [line for line in lines if ": loss" in line]
    log = log_of(planted)
    assert len(shown) == 2
    assert all(line in log for line in shown)

"""What a run shows while it runs: a few lines that matter, and all the rest in its log."""

from pathlib import Path
from typing import Any

import pytest

from recbole_diffusion.cli import main

METRICS = "[Recall, NDCG, Hit, MRR, Precision, MAP]"


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

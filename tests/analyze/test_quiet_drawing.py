"""Loading and drawing saved runs tells nothing twice, and nothing behind a comparison's tables."""

from pathlib import Path
from typing import Any

import pytest

from recbole_diffusion.base.log import run_logger
from recbole_diffusion.commands.cli import main
from recbole_diffusion.runs.quick_start import run_recbole_diffusion
from recbole_diffusion.studies.analyze.figures import checkpoint_figures


def test_a_model_that_is_solved_anew_for_a_figure_says_nothing(
    planted: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    del planted["epochs"]
    run = run_recbole_diffusion("LinDiffRec", "planted", (), planted)
    capsys.readouterr()

    with run_logger(None, "info"):
        gallery = checkpoint_figures(Path(run["run_folder"]), 1, "pca")

    assert gallery.figures
    assert capsys.readouterr().out == ""


def test_a_command_on_a_run_tells_the_default_channels_once(
    planted: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_recbole_diffusion("SimDiff", "planted", (), {**planted, "pretrain_epochs": 1})
    capsys.readouterr()

    assert main(["similar", run["run_folder"], "--items=i056", "--k=2"]) == 0

    told = "".join(capsys.readouterr())
    assert told.count("SimDiff: guided by") == 1

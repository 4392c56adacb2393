"""The list of runs below a folder."""

import json
from pathlib import Path
from typing import Any

import pytest

from recbole_diffusion import run_recbole_diffusion
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.commands.cli import main
from recbole_diffusion.runs.listing import list_runs


def test_runs_are_listed_with_their_metrics(
    planted: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = {**planted, "state": "WARNING", "output_dir": str(tmp_path / "runs" / "deep")}
    results = [run_recbole_diffusion(model, "planted", (), keys) for model in ("Pop", "EASE")]
    stopped = tmp_path / "runs" / "stopped"
    stopped.mkdir()
    (stopped / "config.yaml").write_text("epochs: 3\n")
    frame = list_runs(tmp_path / "runs").set_index("run")
    for result in results:
        row = frame.loc[result["run_folder"]]
        name = result["valid_metric"]
        assert (row["model"], row["dataset"], row["state"]) == (result["model"], "planted", "done")
        assert row["metric"].lower() == name
        assert float(row["valid"]) == pytest.approx(result["valid"][name], abs=1e-4)
        assert float(row["test"]) == pytest.approx(result["test"][name], abs=1e-4)
    assert frame.loc[str(stopped), "state"] == "stopped"
    damaged = Path(results[0]["run_folder"]) / "result.json"
    damaged.write_text(json.dumps({"model": "Pop"}))
    assert "result.json" in list_runs(tmp_path / "runs").set_index("run").loc[
        results[0]["run_folder"], "state"]  # fmt: skip
    assert main(["runs", str(tmp_path / "runs")]) == 0
    assert "EASE" in capsys.readouterr().out


def test_what_is_no_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="found no folder"):
        list_runs(tmp_path / "none")
    assert list_runs(tmp_path).empty
    assert main(["runs", "--depth=3"]) == 2
    assert main(["runs", "--help"]) == 0
    assert "FOLDER" in capsys.readouterr().out

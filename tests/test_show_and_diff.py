"""The commands ``show`` and ``diff``."""

from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from recbole_diffusion import run_recbole_diffusion
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.commands.cli import main
from recbole_diffusion.evaluation.significance import holm
from recbole_diffusion.runs.difference import _scored, difference
from recbole_diffusion.runs.show import show


@pytest.fixture
def keys(planted: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    return {**planted, "state": "WARNING", "output_dir": str(tmp_path / "runs")}


def test_a_run_is_shown_with_what_was_changed(
    keys: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    result = run_recbole_diffusion("DiffRec", "planted", (), {**keys, "epochs": 3, "steps": 7})
    text = show(result["run_folder"])
    assert "  steps: 7 (default 5)" in text.splitlines()
    assert "learning_rate" not in text
    assert "eval_args" not in text
    name, value = next(iter(result["test"].items()))
    assert any(line.split() == [name, f"{result['valid'][name]:.4f}", f"{value:.4f}"]
               for line in text.splitlines())  # fmt: skip
    assert "the last of 3" in text
    assert f"--config_files={result['run_folder']}/config.yaml" in text
    capsys.readouterr()
    assert main(["show", result["run_folder"]]) == 0
    assert capsys.readouterr().out.strip() == text
    Path(result["run_folder"], "result.json").unlink()
    assert f"--resume={result['run_folder']}" in show(result["run_folder"])


def test_two_runs_differ_by_settings_metrics_and_users(
    keys: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [
        run_recbole_diffusion("EASE", "planted", (), {**keys, "reg_weight": weight})["run_folder"]
        for weight in (10.0, 1e6)
    ]
    settings, metrics = difference(folders)
    assert [[entry.text for entry in row] for row in settings.rows] == [
        ["reg_weight", "10.0", "1000000.0"]
    ]
    first, second = (_scored(Path(folder), {}) for folder in folders)
    names = list(first[2])
    p_values = [
        stats.wilcoxon(second[3][name] - first[3][name], zero_method="pratt").pvalue
        if (second[3][name] != first[3][name]).any()
        else 1.0
        for name in names
    ]
    for row, name, p in zip(metrics.rows, names, holm(p_values), strict=True):
        assert row[1].text == f"{first[2][name]:.4f}"
        assert row[3].text == f"{second[2][name] - first[2][name]:+.4f}"
        assert row[4].text == f"{p:.2g}"
        assert bool(row[4].mark) == (p < 0.05)
    capsys.readouterr()
    assert main(["diff", *folders]) == 0
    assert "reg_weight" in capsys.readouterr().out


def test_runs_on_other_splits_are_not_tested(keys: dict[str, Any]) -> None:
    folders = [
        run_recbole_diffusion("Pop", "planted", (), {**keys, "split_seed": seed})["run_folder"]
        for seed in (1, 2)
    ]
    _, metrics = difference(folders)
    assert {row[4].text for row in metrics.rows} == {"-"}
    assert "other splits" in metrics.notes[0]
    settings, _ = difference([folders[0], folders[0]])
    assert not settings.rows
    assert settings.notes


def test_what_is_no_pair_of_runs_is_refused(keys: dict[str, Any], tmp_path: Path) -> None:
    folder = run_recbole_diffusion("Pop", "planted", (), keys)["run_folder"]
    for runs in ([folder], [folder] * 3, [folder, str(tmp_path)]):
        with pytest.raises(UserError):
            difference(runs)
    for alpha in (1.5, "0.1", float("nan"), None, True):
        with pytest.raises(UserError, match="alpha"):
            difference([folder, folder], alpha=alpha)
    with pytest.raises(UserError, match="significance"):
        difference([folder, folder], significance="z")
    with pytest.raises(UserError):
        show(tmp_path)

"""Trials in processes of their own, which are done in this one here, find what a search finds."""

from pathlib import Path
from typing import Any

import pytest
from compare_tools import run_in_process
from tune_tools import DATASETS, SPACE, FakeRun, results_of

from recbole_diffusion import tune
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.studies.tune import trial
from recbole_diffusion.studies.tune.search import Tuned


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the jobs that were started."""
    return run_in_process(monkeypatch)


def searched(folder: Path, **options: Any) -> Tuned:
    space = folder.parent / "space.yaml"
    space.write_text(SPACE)
    keys = {"data_path": str(DATASETS), "show_progress": False}
    return tune("LightGCN", "planted", (), keys, folder=folder, space=str(space), **options)


def test_same_trials_as_one_process(
    tmp_path: Path,
    started: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(trial, "run_recbole_diffusion", FakeRun())
    alone = searched(tmp_path / "alone", trials=6)
    assert started == []
    capsys.readouterr()
    shared = searched(tmp_path / "shared", trials=6, processes=2)
    assert started == [f"process {number}" for number in range(6)]
    assert shared.best_valid == alone.best_valid
    assert results_of(tmp_path / "shared") == results_of(tmp_path / "alone")
    # A finished study starts nothing, and one that is asked for more starts these alone.
    searched(tmp_path / "shared", trials=6, processes=2)
    assert len(started) == 6
    searched(tmp_path / "shared", trials=8, processes=2)
    assert len(started) == 8
    searched(tmp_path / "alone", trials=8)
    assert results_of(tmp_path / "shared") == results_of(tmp_path / "alone")


def test_process_that_fails_is_told_behind_the_others(
    tmp_path: Path, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = [True, False, False]

    def before(keys: Any) -> None:
        if fails and fails.pop(0):
            raise LookupError("no such thing")

    monkeypatch.setattr(trial, "run_recbole_diffusion", FakeRun(before))
    with pytest.raises(UserError, match=r"jobs.0: LookupError: no such thing"):
        searched(tmp_path / "study", trials=3, processes=2)
    assert [slot for slot, *_ in results_of(tmp_path / "study")] == [0, 1]
    searched(tmp_path / "study", trials=3, processes=2)
    assert len(started) == 4
    assert [slot for slot, *_ in results_of(tmp_path / "study")] == [0, 1, 2]


@pytest.mark.parametrize(
    ("key", "value"), [("processes", 0), ("processes", 1.5), ("cluster", 7), ("cluster", True)]
)
def test_values_that_do_not_fit_are_refused(tmp_path: Path, key: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"key `{key}`: found {value}"):
        searched(tmp_path / "study", **{key: value})

"""A cell of the reproduction page is run again, and one that differs is told."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(sys, "argv", ["cells.py", "--datasets=ml-100k"])
    import cells

    return cells


def test_a_cell_has_the_committed_value_again(
    cells: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cells.main() == 0
    assert "ml-100k: LinDiffRec, recall@20 0.2321, committed 0.2321: the same" in (
        capsys.readouterr().out
    )


def test_a_cell_that_differs_is_told(
    cells: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"test": {"recall@20": 0.2311}}
    monkeypatch.setattr(cells, "run_recbole_diffusion", lambda *args, **keys: found)
    assert cells.main() == 1
    assert "recall@20 0.2311, committed 0.2321: DIFFERS" in capsys.readouterr().out

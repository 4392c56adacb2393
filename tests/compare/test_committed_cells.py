"""A cell of the reproduction page is run again, and one that differs is told."""

import sys
from pathlib import Path
from types import ModuleType

import pytest
from compare_tools import run_in_process

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


def test_rows_go_from_data_to_the_page(
    cells: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import reproduce

    run_in_process(monkeypatch)
    monkeypatch.setattr(reproduce, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(reproduce, "PAGE", tmp_path / "page.md")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    words = ["ml-100k", "--models=Pop,ItemKNN", "--seeds=1", "--tune=0", "--topk=[10]"]
    for _ in range(2):  # the second time nothing is left to do
        assert reproduce.main([*words, "--valid_metric=Recall@10", "--metrics=[Recall]"]) == 0
    (result,) = (tmp_path / "results").iterdir()
    assert result.name.startswith("ml-100k_")
    page = (tmp_path / "page.md").read_text()
    assert "| ItemKNN | untuned; solved; 1 seed |" in page
    assert str(tmp_path) not in page
    assert reproduce.main(["baby", "--models=Pop"]) == 2
    told = capsys.readouterr().err
    assert f"{tmp_path / 'dataset_atomic' / 'baby'}: found no data set" in told
    assert "recbole_diffusion.data.convert mmrec SOURCE --name=baby" in told
    monkeypatch.setattr(cells, "run_again", lambda dataset, *others: dataset == "ml-100k")
    assert reproduce.main(["ml-100k", "--check"]) == 1
    assert reproduce.main(["office", "--check"]) == 0
    assert reproduce.main(["baby", "--check"]) == 2
    assert "found no committed result of 'baby', expected microlens" in capsys.readouterr().err

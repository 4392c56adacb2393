"""A damaged file of a finished comparison is told; it ends nothing, and changes no number."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from compare_tools import folder_of, row, run_in_process
from damage_tools import mutations

from recbole_diffusion import compare
from recbole_diffusion.base.files import read_json
from recbole_diffusion.studies.compare import parts, run, worker
from recbole_diffusion.studies.compare.plan import Data, make_configs, read_data
from recbole_diffusion.studies.compare.request import read_request
from recbole_diffusion.studies.jobs.process import REASON_LOST

DATASETS = Path(__file__).resolve().parents[2] / "dataset_atomic"
TABLES = ("topk.parquet", "relevant.parquet", "items.parquet", "per_user.parquet")
NEEDED = ("result.json", *TABLES)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The output folder of a finished comparison; its jobs run in this process."""
    output = tmp_path_factory.mktemp("finished") / "comparisons"
    with pytest.MonkeyPatch.context() as patch:
        run_in_process(patch)
        patch.setattr(run, "write_report", lambda folder: folder)
        compare("EASE,Pop", "planted", config_dict=keys_of(output))
        yield output


@pytest.fixture(scope="module")
def data(finished: Path) -> Data:
    keys = {"models": "EASE,Pop", "dataset": "planted", **keys_of(finished)}
    request = read_request(keys)
    return read_data(make_configs(request, finished))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, data: Data) -> list[str]:
    """Names of the jobs that are done; the data are read once for all tests."""
    monkeypatch.setattr(run, "read_data", lambda configs: data)
    monkeypatch.setattr(run, "write_report", lambda folder: folder)
    return run_in_process(monkeypatch)


@pytest.fixture
def keys(finished: Path, tmp_path: Path) -> dict[str, Any]:
    """The request of a copy of it."""
    shutil.copytree(finished, tmp_path / "comparisons")
    return keys_of(tmp_path / "comparisons")


def keys_of(output: Path) -> dict[str, Any]:
    return {"data_path": str(DATASETS), "output_dir": str(output), "seeds": 1, "topk": [20]}


def ease_of(keys: dict[str, Any]) -> Path:
    (folder,) = folder_of(keys).glob("runs/EASE-seed1-????????????")
    return folder


def scores(results: dict[str, Any]) -> dict[str, Any]:
    return {model["name"]: model["test"] for model in results["models"]}


@pytest.mark.parametrize("name", ["result.json", *TABLES, "failure.json", "memory.json"])
def test_mutated_file_of_a_cell(
    name: str, keys: dict[str, Any], started: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The cell has its numbers, runs again, or counts as failed and says why."""
    before = scores(read_json(folder_of(keys) / "results.json"))
    cell_folder = ease_of(keys)
    path = cell_folder / name
    content = path.read_bytes() if path.is_file() else b'{"error": "some reason"}'
    shutil.copytree(cell_folder, kept := Path(keys["output_dir"]).with_name("kept"))
    ends = set()
    for mutated in mutations(content):
        path.unlink(missing_ok=True)
        if mutated is not None:
            path.write_bytes(mutated)
        started.clear()
        after = compare("EASE,Pop", "planted", config_dict=keys)
        lines = capsys.readouterr().out.splitlines()
        model = row(after, "EASE")
        (cell,) = model["cells"]
        ends.add(model["status"])
        assert scores(after)["Pop"] == before["Pop"]
        if model["status"] == "finished":
            assert scores(after) == before
            assert started == (["EASE, seed 1"] if mutated is None and name in NEEDED else [])
        else:
            assert name in NEEDED
            assert (model["status"], cell["status"], model["test"]) == ("failed", "failed", {})
            assert f"runs/{cell_folder.name}/{name}: " in cell["error"]
            assert lines.count(f"EASE, seed 1: {cell['error']}") == 2  # at once, and in the table
        shutil.rmtree(cell_folder)
        shutil.copytree(kept, cell_folder)
    assert ends == {"finished", "failed"} if name in NEEDED else {"finished"}


def test_damaged_cell_is_set_aside_and_run_again(
    keys: dict[str, Any], started: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = scores(read_json(folder_of(keys) / "results.json"))
    folder = ease_of(keys)
    for number in (1, 2):
        (folder / "topk.parquet").write_bytes(b"damaged")
        (folder / "result.json").write_text("{")
        assert row(compare("EASE,Pop", "planted", config_dict=keys), "EASE")["test"] == {}
        again = compare("EASE,Pop", "planted", config_dict={**keys, "retry_failed": True})
        assert started == number * ["EASE, seed 1"]
        assert scores(again) == before
        aside = folder.with_name(f"{folder.name}.damaged-{number}")
        assert (aside / "topk.parquet").read_bytes() == b"damaged"
        assert (aside / "best.pth").is_file()
        assert f"EASE, seed 1: its files are now in runs/{aside.name}" in capsys.readouterr().out


def test_failure_whose_file_is_damaged(keys: dict[str, Any], started: list[str]) -> None:
    (ease_of(keys) / "per_user.parquet").unlink()
    for text in ("", "[]", "{}", '{"error": "x", "digest": "0"}'):
        (ease_of(keys) / "failure.json").write_text(text)
        (cell,) = row(compare("EASE,Pop", "planted", config_dict=keys), "EASE")["cells"]
        assert (cell["status"], cell["error"]) == ("failed", REASON_LOST)
    assert started == []
    compare("EASE,Pop", "planted", config_dict={**keys, "retry_failed": True})
    assert started == ["EASE, seed 1"]


def test_damage_found_while_others_run(
    keys: dict[str, Any], started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell whose file is damaged as soon as it is written."""
    for folder in folder_of(keys).glob("runs/*"):
        shutil.rmtree(folder)
    real = worker.main

    def main(folder: Path) -> int:
        code = real(folder)
        if "EASE" in folder.name:
            for name in ("items.parquet", "memory.json"):
                (folder / name).write_bytes(b"{")
        return code

    monkeypatch.setattr(worker, "main", main)
    results = compare("EASE,Pop", "planted", config_dict=keys)
    assert started == ["EASE, seed 1", "Pop, seed 1"]
    assert [model["status"] for model in results["models"]] == ["failed", "finished"]


def test_damaged_hint_is_told_once(
    keys: dict[str, Any], started: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for text in ("", "{}", '{"peak_mb": "much"}', '{"peak_mb": -1}', '{"peak_mb": Infinity}'):
        (ease_of(keys) / "memory.json").write_text(text)
        compare("EASE,Pop", "planted", config_dict=keys)
        assert capsys.readouterr().out.count("no peak of memory is known") == 1


def test_what_only_repeats_is_made_anew(keys: dict[str, Any], started: list[str]) -> None:
    compare("EASE,Pop", "planted", config_dict=keys)
    folder = folder_of(keys)
    paths = [folder / name for name in ("results.json", "plan.json", "per_user.parquet")]
    contents = [path.read_bytes() for path in paths]
    for all_mutated in zip(*map(mutations, contents), strict=True):
        for path, mutated in zip(paths, all_mutated, strict=True):
            path.unlink()
            if mutated is not None:
                path.write_bytes(mutated)
        compare("EASE,Pop", "planted", config_dict=keys)
        assert [path.read_bytes() for path in paths] == contents
    assert started == []


def test_cells_are_computed_once(
    keys: dict[str, Any], started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tables grow model by model; what they take of a cell does not."""
    computed: list[str] = []

    def counted(function: Any) -> Any:
        def call(first: Any, *rest: Any) -> Any:
            computed.append(function.__name__)
            return function(first, *rest)

        return call

    for name in ("beyond_accuracy", "by_activity"):
        monkeypatch.setattr(parts, name, counted(getattr(parts, name)))
    keys |= {"seeds": [2, 3], "protocol": "paper:diffrec,paper:diffmm"}
    compare("EASE,Pop", "planted", config_dict=keys)
    assert len(started) == 4
    assert sorted(computed) == 4 * ["beyond_accuracy"] + 4 * ["by_activity"]
    first = folder_of(keys) / "results.json"
    content = first.read_bytes()
    compare("EASE,Pop", "planted", config_dict=keys)  # from the files, as by another process
    assert first.read_bytes() == content

"""What a user keeps beside our files, in the folders that we write to, is found there afterwards.

Deleted, replaced or renamed by the package are, and nothing else: half-written files of its own
name whose process is dead (`remove_unfinished`), scratch folders that it marked, lock
files that it holds (`sole_writer`), files of an analysis that its list names, and the files that a
run, a study, a comparison or a conversion writes by name, where it wrote them before.
"""

from pathlib import Path
from typing import Any

import pytest
from compare_tools import run_in_process

from recbole_diffusion import analyze, compare, resume_run, run_recbole_diffusion, tune
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.commands import convert
from recbole_diffusion.runs.report import RUN_FILES

# Names that a program which cleans up too much would take for its own.
NAMES = (
    ".notes.tmp",
    ".last.pth.77.tmp",
    ".x.inter.77.tmp",
    ".analysis-old-77",
    "recbole-diffusion-x-77.tmp",
    "backup.pth",
    "mine.csv",
    "data.parquet",
    "run.log.bak",
    "table.docx",
)
FOLDERS = ("", "0", "1", "mine/deep", "trials/mine", "workers", "runs/mine", "cache", "analysis")


def plant(folder: Path) -> dict[Path, bytes]:
    """Files of the user's in a folder and below it."""
    planted = {}
    for place in FOLDERS:
        (folder / place).mkdir(parents=True, exist_ok=True)
        for name in NAMES:
            path = folder / place / name
            path.write_bytes(f"mine: {place}/{name}".encode())
            planted[path] = path.read_bytes()
    return planted


def check(planted: dict[Path, bytes]) -> None:
    lost = [path for path, content in planted.items() if not path.is_file()]
    assert lost == []
    assert all(path.read_bytes() == content for path, content in planted.items())


def test_run_and_resume_and_analyze(planted: dict[str, Any], tmp_path: Path) -> None:
    found = plant(tmp_path)
    keys = {**planted, "epochs": 3, "output_dir": str(tmp_path)}

    def stop(epoch: int, score: float) -> None:
        if epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_recbole_diffusion(
            "BPR", "planted", config_dict=keys, run_folder=tmp_path, on_validation=stop
        )
    check(found)
    assert resume_run(tmp_path)["epochs_trained"] == 3
    check(found)
    analyze(tmp_path)
    analyze(tmp_path)
    check(found)


@pytest.mark.parametrize("name", RUN_FILES)
def test_a_run_does_not_write_over_files_of_its_names(
    planted: dict[str, Any], tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=f"run_folder .*found {name} there"):
        run_recbole_diffusion("Pop", "planted", config_dict=planted, run_folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_tune(planted: dict[str, Any], tmp_path: Path) -> None:
    found = plant(tmp_path)
    keys = {key: value for key, value in planted.items() if key != "output_dir"}
    for trials in (1, 2):
        tune("ItemKNN", "planted", config_dict=keys, trials=trials, folder=tmp_path)
        check(found)


def test_compare(planted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_in_process(monkeypatch)
    keys = {**planted, "output_dir": str(tmp_path), "seeds": 1}
    found = plant(tmp_path)
    results = compare("Pop", "planted", config_dict=keys)
    (folder,) = tmp_path.glob("planted-*")
    found |= plant(folder) | plant(folder / results["models"][0]["cells"][0]["folder"])
    compare("Pop,EASE", "planted", config_dict=keys)
    check(found)


def test_convert(tmp_path: Path) -> None:
    source = tmp_path / "interactions.csv"
    source.write_text("user_id,item_id\na,x\nb,y\n")
    found = plant(tmp_path / "out" / "mydata")
    words = ["csv", str(source), "--name=mydata", f"--output={tmp_path / 'out'}"]
    assert convert.main(words) == 0
    check(found)
    assert convert.main([*words, "--overwrite"]) == 0
    check(found)

"""The command from end to end: what it writes, goes on with, refuses and survives."""

import importlib
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from compare_tools import folder_of, row, run_in_process
from damage_tools import mutations
from forked import Fork
from recbole.model.general_recommender import BPR

from recbole_diffusion import compare
from recbole_diffusion.base.errors import UserError, exit_code
from recbole_diffusion.base.files import LOCK, read_json, sole_writer
from recbole_diffusion.commands import cli
from recbole_diffusion.settings import schema
from recbole_diffusion.settings.registry import register
from recbole_diffusion.studies.compare import command, plan, worker
from recbole_diffusion.studies.compare.results import collect
from recbole_diffusion.studies.jobs import local, process
from recbole_diffusion.studies.jobs.limits import Limits
from recbole_diffusion.studies.jobs.local import ThisMachine
from recbole_diffusion.studies.jobs.process import Job, Outcome

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "kill_comparison.py"


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Jobs are done in this process, which is faster; gives the names of those started."""
    return run_in_process(monkeypatch)


@pytest.fixture
def keys(planted: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    quick = {k: v for k, v in planted.items() if k != "show_progress"}
    return {**quick, "output_dir": str(tmp_path / "comparisons"), "train_batch_size": 256}


@pytest.mark.compat
def test_whole_comparison(keys: dict[str, Any], in_process: list[str]) -> None:
    keys |= {"seeds": 2, "DiffRec.learning_rate": 1e-2}
    results = compare("BPR,EASE,DiffRec", "planted", config_dict=keys)
    folder = folder_of(keys)
    assert len(in_process) == 6
    assert read_json(folder / "results.json") == results
    per_user = pd.read_parquet(folder / "per_user.parquet")
    for model in results["models"]:
        assert model["status"] == "finished"
        for metric, value in model["test"].items():
            own = per_user[per_user["model"] == model["name"]]
            seeds = own.groupby("seed")[metric].mean()
            assert value["mean"] == pytest.approx(seeds.mean(), abs=1e-9)
            assert value["std"] == pytest.approx(seeds.std(), abs=1e-9)
            assert value["n"] == 2
    assert row(results, "EASE")["role"] == "baseline"
    assert row(results, "EASE")["costs"]["parameters"]["mean"] is None  # solved, not trained
    assert row(results, "BPR")["costs"]["parameters"]["mean"] % 64 == 0
    assert row(results, "DiffRec")["role"] == "candidate"
    assert results["best"]["recall@20"] == "EASE"
    tests = results["significance"]["comparisons"]
    assert [(t["candidate"], t["baseline"]) for t in tests] == [("DiffRec", "EASE")] * 2
    (cell,) = (c for c in row(results, "DiffRec")["cells"] if c["seed"] == 1)
    settings = json.loads((folder / cell["folder"] / "job.json").read_text())["settings"]
    assert (settings["learning_rate"], settings["seed"]) == (1e-2, 1)
    text = (folder / "table.txt").read_text()
    assert "[0." in text
    assert "EASE" in text
    assert {path.suffix for path in folder.glob("table.*")} == {".txt", ".md", ".tex", ".csv"}

    # A second call does nothing twice; further models, seeds and protocols add to the folder.
    in_process.clear()
    again = compare("BPR,EASE,DiffRec", "planted", config_dict=keys)
    assert (in_process, again) == ([], results)
    del keys["DiffRec.learning_rate"]
    keys |= {"seeds": [2, 3], "protocol": "paper:diffrec"}
    more = compare("BPR,Pop", "planted", config_dict=keys)
    assert in_process == ["BPR, seed 3", "Pop, seed 2", "Pop, seed 3"]
    assert [model["name"] for model in more["models"]] == ["BPR", "Pop"]
    assert folder_of(keys) == folder


def test_settings_name_the_cell(keys: dict[str, Any], in_process: list[str]) -> None:
    compare("EASE", "planted", config_dict={**keys, "seeds": 1})
    compare("EASE", "planted", config_dict={**keys, "seeds": 1, "EASE.reg_weight": 9.0})
    assert len(in_process) == 2  # another setting
    place = {"processes": 2, "memory_mb": 9999.0, "eval_memory_mb": 9.0, "state": "error"}
    compare("EASE", "planted", config_dict={**keys, "seeds": 1, **place})
    assert len(in_process) == 2  # where and how it runs do not matter


def test_failed_run_does_not_sink_the_others(
    keys: dict[str, Any], in_process: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    keys |= {"seeds": 1, "BPR.learning_rate": 1e30, "epochs": 3}
    results = compare("BPR,EASE", "planted", config_dict=keys)
    assert (row(results, "BPR")["status"], row(results, "EASE")["status"]) == ("failed", "finished")
    (cell,) = row(results, "BPR")["cells"]
    assert "NaN" in cell["error"]
    assert "\n" not in cell["error"]
    assert f"BPR, seed 1: {cell['error']}" in capsys.readouterr().out
    compare("BPR,EASE", "planted", config_dict=keys)
    assert in_process == ["BPR, seed 1", "EASE, seed 1"]
    compare("BPR,EASE", "planted", config_dict={**keys, "retry_failed": True})
    assert in_process == ["BPR, seed 1", "EASE, seed 1", "BPR, seed 1"]
    asked = {**keys, "dataset": "planted"}
    # The exit code, for scripts.
    assert exit_code(lambda: command.main({**asked, "models": "BPR,EASE"})) == 1
    del asked["BPR.learning_rate"]
    assert exit_code(lambda: command.main({**asked, "models": "EASE"})) == 0


def test_missing_cell_tells_its_command(
    keys: dict[str, Any], in_process: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ThisMachine, "run_jobs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compare("BPR,EASE", "planted", config_dict={**keys, "BPR.learning_rate": 1e-2})
    results = json.loads((folder_of(keys) / "results.json").read_text())
    assert [model["status"] for model in results["models"]] == ["not run"] * 2
    assert row(results, "BPR")["cells"][1]["command"] == (
        "python -m recbole_diffusion compare --models=BPR --dataset=planted "
        '--seeds="[2]" --epochs=1 --train_batch_size=256 --BPR.learning_rate=0.01'
    )
    assert "EASE is not run: python" in (folder_of(keys) / "table.txt").read_text()


def test_another_split_is_refused(keys: dict[str, Any], in_process: list[str]) -> None:
    with pytest.raises(UserError, match="would not have the same split"):
        compare("BPR,EASE", "planted", config_dict={**keys, "EASE.split_seed": 7})
    own = {"EASE.topk": [5], "EASE.valid_metric": "Recall@5"}
    with pytest.raises(UserError, match=r"`topk`: found \[5\] for EASE and \[10, 20, 50\] for BPR"):
        compare("BPR,EASE", "planted", config_dict={**keys, **own})
    assert not Path(keys["output_dir"]).exists()
    assert in_process == []


def test_second_command_in_the_folder_is_refused(
    keys: dict[str, Any], in_process: list[str]
) -> None:
    compare("EASE", "planted", config_dict={**keys, "seeds": 1})
    with (
        sole_writer(folder_of(keys) / LOCK),
        pytest.raises(UserError, match="another process is running there"),
    ):
        compare("BPR", "planted", config_dict={**keys, "seeds": 1})


def test_key_that_one_model_alone_reads_is_advised_for_it(
    keys: dict[str, Any], own_registry: None
) -> None:
    class DeepSettings(schema.Settings):
        depth_of_this_test: int = schema.key(2, within="> 0")

    class Deep(BPR):
        settings_class = DeepSettings

        def __init__(self, config: Any, dataset: Any) -> None:
            super().__init__(config, dataset)
            self.depth = config["depth_of_this_test"]

    register(Deep)
    refused = r"EASE: .*unknown key `depth_of_this_test`"
    with pytest.raises(UserError, match=rf"{refused}; type --Deep\.depth_of_this_test=3 in"):
        compare("EASE,Deep", "planted", config_dict={**keys, "depth_of_this_test": 3})
    with pytest.raises(UserError, match=rf"{refused}$"):
        compare("EASE,Deep", "planted", config_dict={**keys, "EASE.depth_of_this_test": 3})
    with pytest.raises(UserError, match=r"BPR: .*LTDiffRec read it$"):
        compare("BPR,LightGCN", "planted", config_dict={**keys, "recency": "power"})


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--models=BPR,Nope"], ["model", "Nope"]),
        (["--models=BPR,BPR"], ["`models`", "BPR"]),
        (["--models=LightGCN,recbole.LightGCN"], ["`models`", "once"]),
        ([], ["`models`", "InfoDCL,LightGCN"]),
        (["--models=BPR", "--lr=1"], ["BPR", "unknown key `lr`"]),
        (
            ["--models=BPR,EASE,row=LinDiffRec", "--recency=power"],
            ["BPR: key `recency`: found 'power'", "type --EASE.recency=power --row.recency=power"],
        ),
        (["--models=BPR", "--EASE.reg_weight=1.0"], ["`EASE.reg_weight`", "one of BPR"]),
        (["--models=BPR", "--BPR.embedding_size=a"], ["embedding_size", "'a'", "whole number"]),
        (["--models=BPR", "--seed=7"], ["`seed`", "expected key `seeds`"]),
        (["--models=BPR", "--BPR.seed=7"], ["`BPR.seed`", "expected key `seeds`"]),
        (["--models=BPR", "--seeds=0"], ["`seeds`", "0"]),
        (["--models=BPR", "--seeds=[1, 1]"], ["`seeds`", "[1, 1]"]),
        (["--models=BPR", "--seeds=true"], ["`seeds`", "True"]),
        (["--models=BPR", "--processes=0"], ["`processes`", "from 1 to"]),
        (["--models=BPR", "--processes=two"], ["`processes`", "'two'"]),
        (["--models=BPR", "--memory_mb=-1"], ["`memory_mb`", "-1"]),
        (
            ["--models=EASE,DiffMM", "--DiffMM.modalities=[nothing]"],
            ["DiffMM", "`item_features`", "None"],
        ),
        (["--models=SimDiff", "--SimDiff.channels=[nothing]"], ["`channels`", "nothing"]),
        (["--models=InfoDCL", "--InfoDCL.channels=[nothing]"], ["`channels`", "nothing"]),
        (["--models=LD4MRec", "--LD4MRec.modalities=[nothing]"], ["`modalities`", "nothing"]),
        (["--models=BPR", "--tune_minutes=.inf"], ["`tune_minutes`", "inf"]),
        (
            [
                "--models=BPR",
                "--metrics=[AveragePopularity]",
                "--valid_metric=AveragePopularity@20",
            ],
            [
                "`valid_metric`",
                "AveragePopularity@20",
                'type --metrics="[Recall, AveragePopularity]" --valid_metric=Recall@10',
            ],
        ),
        (
            [
                "--models=BPR",
                "--metrics=[NDCG, AveragePopularity]",
                "--valid_metric=AveragePopularity@20",
            ],
            ["`valid_metric`", "AveragePopularity@20", "type --valid_metric=ndcg@10"],
        ),
        (["--models=BPR", "--alpha=2"], ["`alpha`", "above 0, to below 1"]),
        (["--models=BPR", "--significance=anova"], ["`significance`", "wilcoxon"]),
        (["--models=BPR", "--baselines=EASE"], ["`baselines`", "'EASE'", "BPR"]),
        (["--models=BPR", "--tested_metrics=Recall@7"], ["`tested_metrics`", "Recall@7"]),
        (["--models=BPR", "--protocol=paper:x"], ["`protocol`", "'paper:x'", "paper:diffmm"]),
        (
            ["--models=BPR", "--protocol=paper:diffrec+test-selection"],
            ["`protocol`", "selects on validation", "paper:diffrec"],
        ),
        (["--models=BPR", "--dataset=nowhere"], ["`dataset`", "nowhere"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_words_are_refused_before_anything_runs(
    words: list[str],
    told: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = f"--data_path={Path(__file__).resolve().parents[2] / 'dataset_atomic'}"
    given = words if any("--dataset" in word for word in words) else [*words, "--dataset=planted"]
    monkeypatch.chdir(tmp_path)
    assert cli.main(["compare", data, *given]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert [text for text in told if text not in error] == []
    assert list(tmp_path.iterdir()) == []


# Tuning


@dataclass(frozen=True)
class Found:
    """What a search gives, as far as a comparison reads it."""

    settings: dict[str, Any]
    trials: int
    minutes: float
    folder: Path


def use_search(monkeypatch: pytest.MonkeyPatch, search: Callable[..., Found]) -> None:
    monkeypatch.setattr(worker, "tuned_settings", lambda: search)
    monkeypatch.setattr(worker, "tuned_settings", lambda: search)


@pytest.fixture
def interrupted_at_item_knn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every search finds the same, but the one for ItemKNN, in which the user stops the command."""

    def search(model: str, dataset: str, files: Any, config_dict: Any, **given: Any) -> Found:
        if model == "recbole.ItemKNN":
            raise KeyboardInterrupt
        return Found({"reg_weight": 9.0}, 3, 0.5, given["folder"])

    use_search(monkeypatch, search)


def test_searched_settings_are_run(
    keys: dict[str, Any], in_process: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def search(model: str, dataset: str, files: Any, config_dict: Any, **given: Any) -> Found:
        asked.append({"model": model, **given})
        if model == "recbole.Pop":
            raise UserError("no trial has a result")
        return Found({"reg_weight": 9.0}, 3, 0.5, given["folder"])

    use_search(monkeypatch, search)
    keys |= {"seeds": 1, "tune": 3, "tune_minutes": 7.0}
    results = compare("EASE,Pop", "planted", config_dict=keys)
    assert in_process == ["search for EASE", "EASE, seed 1", "search for Pop"]
    assert [entry["model"] for entry in asked] == ["recbole.EASE", "recbole.Pop"]
    assert {(e["n_trials"], e["minutes"], e["trial_minutes"]) for e in asked} == {(3, 7.0, 8.0)}
    (cell,) = row(results, "EASE")["cells"]
    assert "reg_weight: 9.0\n" in (folder_of(keys) / cell["folder"] / "config.yaml").read_text()
    assert row(results, "EASE")["tuning"] == {
        "settings": {"reg_weight": 9.0}, "trials": 3, "minutes": 0.5,
    }  # fmt: skip
    assert "--tune=3 --tune_minutes=7" in row(results, "EASE")["command"]
    assert row(results, "Pop")["status"] == "failed"
    (cell,) = row(results, "Pop")["cells"]
    assert cell["error"] == "its search failed: no trial has a result"
    text = (folder_of(keys) / "table.txt").read_text()
    assert "3 trials and 7 minutes for each model" in text
    assert "EASE 3 trials in 0 min" in text


@pytest.mark.usefixtures("interrupted_at_item_knn")
def test_rows_are_written_model_by_model(keys: dict[str, Any], in_process: list[str]) -> None:
    """A comparison that ends in the second search has all of the first model, and says the rest."""
    keys |= {"seeds": 2}
    compare("ItemKNN", "planted", config_dict=keys)  # untuned: no row of the search below
    with pytest.raises(KeyboardInterrupt):
        compare("EASE,ItemKNN", "planted", config_dict={**keys, "tune": 3})
    results = json.loads((folder_of(keys) / "results.json").read_text())
    assert row(results, "EASE")["status"] == "finished"
    assert row(results, "EASE")["test"]["recall@20"]["n"] == 2
    assert row(results, "ItemKNN")["status"] == "not run"
    assert row(results, "ItemKNN")["test"] == {}
    text = (folder_of(keys) / "table.txt").read_text()
    assert f"ItemKNN is not run: {row(results, 'ItemKNN')['command']}" in text
    assert "--tune=3" in row(results, "ItemKNN")["command"]


@pytest.mark.parametrize(("share", "rows"), [(1e9, [0, 1, 2, 3, 3]), (1e-9, [0, 3])])
@pytest.mark.usefixtures("in_process")
def test_tables_before_the_last_take_a_share_of_the_time(
    keys: dict[str, Any], monkeypatch: pytest.MonkeyPatch, share: float, rows: list[int]
) -> None:
    """At the beginning, with each of three models unless that takes too long, and at the end."""
    module = importlib.import_module("recbole_diffusion.studies.compare.run")
    written: list[int] = []

    def counted(*given: Any) -> dict[str, Any]:
        results = collect(*given)
        written.append(sum(bool(model["test"]) for model in results["models"]))
        return results

    monkeypatch.setattr(module, "collect", counted)
    monkeypatch.setattr(module, "TABLES_SHARE", share)
    compare("EASE,ItemKNN,Pop", "planted", config_dict={**keys, "seeds": 1})
    assert written == rows


@pytest.mark.usefixtures("interrupted_at_item_knn")
def test_row_whose_runs_are_done_is_written_after_its_search(
    keys: dict[str, Any], in_process: list[str]
) -> None:
    """A search of other minutes that finds the same settings leaves no run to wait for."""
    keys |= {"seeds": 1, "tune": 3}
    for minutes in (7.0, 8.0):
        in_process.clear()
        with pytest.raises(KeyboardInterrupt):
            compare("EASE,ItemKNN", "planted", config_dict={**keys, "tune_minutes": minutes})
    assert in_process == ["search for EASE", "search for ItemKNN"]
    results = json.loads((folder_of(keys) / "results.json").read_text())
    assert "--tune_minutes=8" in row(results, "EASE")["command"]
    assert row(results, "EASE")["status"] == "finished"


def test_search_is_of_its_request_and_data(
    keys: dict[str, Any], in_process: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an earlier search found does not stand in for one that is refused, or of other keys."""

    def search(model: str, dataset: str, files: Any, config_dict: Any, **given: Any) -> Found:
        if given["n_trials"] == 4:
            raise UserError("no trial has a result")
        return Found({"reg_weight": 9.0}, given["n_trials"], 0.5, given["folder"])

    use_search(monkeypatch, search)
    keys |= {"seeds": 1, "tune": 3}
    models = "EASE,ItemKNN"
    compare(models, "planted", config_dict=keys)
    searches = ["search for EASE", "search for ItemKNN"]
    assert in_process == [searches[0], "EASE, seed 1", searches[1], "ItemKNN, seed 1"]
    in_process.clear()
    compare(models, "planted", config_dict=keys)
    assert in_process == []
    compare(models, "planted", config_dict={**keys, "ItemKNN.shrink": 0.5})
    assert in_process == ["search for ItemKNN", "ItemKNN, seed 1"]
    in_process.clear()
    compare(models, "planted", config_dict={**keys, "trial_minutes": 5.0})
    assert in_process == searches
    compare(models, "planted", config_dict={**keys, "train_noise_ratio": 0.1})
    in_process.clear()
    with pytest.raises(UserError, match="every search failed"):
        compare(models, "planted", config_dict={**keys, "tune": 4})
    assert in_process == searches


def test_password_of_a_database_is_written_nowhere(
    keys: dict[str, Any], in_process: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []

    def search(*arguments: Any, **options: Any) -> Found:
        given.append(options["storage"])
        return Found({}, 1, 0.5, options["folder"])

    use_search(monkeypatch, search)
    url = "postgresql+psycopg://me:secret@host/studies"
    compare("EASE", "planted", config_dict={**keys, "seeds": 1, "tune": 1, "tune_storage": url})
    assert given == [url]
    texts = [path.read_bytes() for path in folder_of(keys).rglob("*") if path.is_file()]
    assert not any(b"secret" in text for text in texts)


def test_missing_search_is_told(keys: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError("No module named 'optuna'")

    monkeypatch.setattr(worker, "import_module", missing)
    with pytest.raises(UserError, match="key `tune`: .*No module named 'optuna'"):
        compare("EASE", "planted", config_dict={**keys, "tune": 3})


# Jobs


def job(tmp_path: Path, name: str, kind: str = "a") -> Job:
    return Job(name, kind, tmp_path / name, {"kind": "cell", "modules": []})


def test_jobs_start_within_the_memory(tmp_path: Path) -> None:
    limits = Limits(processes=3, memory_mb=900.0)
    small, large = job(tmp_path, "small"), job(tmp_path, "large", "b")
    assert limits.estimate(small) == 300.0
    assert limits.admits(small, [small, small])
    assert not limits.admits(small, [small, small, small])  # processes
    large.folder.mkdir()
    (large.folder / "memory.json").write_text('{"peak_mb": 500.0}')
    limits.measured(large)
    assert limits.estimate(large) == 500.0
    assert limits.estimate(small) == 500.0  # unknown: as the largest known
    assert not limits.admits(large, [large])  # memory
    (large.folder / "memory.json").write_text('{"peak_mb": 200.0}')
    limits.measured(large)
    assert limits.estimate(large) == 500.0  # the largest of all, not the last
    limits.peaks["a"] = 100.0
    assert limits.admits(small, [large, small])
    assert not limits.admits(large, [large, small])
    limits.peaks["b"] = 5000.0
    assert limits.admits(large, [])  # alone, always


def test_killed_and_crashed_processes_are_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real processes: one that the system kills, one that cannot be run, one that is well."""
    programs = {
        "killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "crashed": "import sys; sys.exit(3)",
        "well": "pass",
    }
    real = subprocess.Popen

    def popen(command: list[str], **kwargs: Any) -> Any:
        return real([sys.executable, "-c", programs[Path(command[-1]).name]], **kwargs)

    monkeypatch.setattr(process.subprocess, "Popen", popen)
    ended: dict[str, Outcome] = {}
    limits = Limits(2, 1e6)
    todo = [job(tmp_path, name) for name in programs]
    ThisMachine().run_jobs(
        todo, limits, lambda job: None, lambda end: ended.update({end.job.name: end})
    )
    assert "SIGKILL" in str(ended["killed"].error)
    assert "code 3" in str(ended["crashed"].error)
    assert ended["well"].error is None
    kept = json.loads((tmp_path / "killed" / "failure.json").read_text())
    assert kept["error"] == ended["killed"].error


def test_threads_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert process.environment(local._threads(3))["OMP_NUM_THREADS"] == "2"
    assert process.environment(local._threads(20))["MKL_NUM_THREADS"] == "1"


def test_waiting_for_a_dying_process(tmp_path: Path) -> None:
    path = tmp_path / LOCK
    program = (
        "import sys; from recbole_diffusion.base.files import sole_writer\n"
        "from pathlib import Path\n"
        "with sole_writer(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="another process"), sole_writer(path, 0.01):
            pass
        threading.Timer(0.3, holder.stdin.close).start()
        with sole_writer(path, 60.0):
            pass


@pytest.mark.slow
@pytest.mark.skipif(not SCRIPT.is_file(), reason="the script is in the repository only")
def test_killed_comparison_ends_as_one_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The short form of ``benchmarks/kill_comparison.py``."""
    monkeypatch.syspath_prepend(SCRIPT.parent)
    words = ["--models=LDiffRec", "--dataset=planted", "--seeds=1", "--epochs=6"]
    words += ["--train_batch_size=64", "--pretrain_epochs=4", "--processes=1", "--kills=1"]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *words, f"--output={tmp_path}"])
    script = importlib.import_module("kill_comparison")
    monkeypatch.setattr(script, "start", start_forked)
    code = script.main()
    out = capsys.readouterr().out
    assert code == 0, out
    assert out.count("kill ") == 1
    assert out.endswith("equal\n")


def start_forked(keys: list[str], output: Path) -> Fork:
    """The command in a fork, which is a process as any other; the runs are in fresh ones."""
    words = ["compare", *keys, f"--output_dir={output}"]
    with open(os.devnull, "w") as nowhere:
        process = Fork(lambda: sys.exit(cli.main(words)), nowhere.fileno(), nowhere.fileno())
        process.start()
    return process


def test_lines_of_the_fixture_are_those_of_the_job(
    keys: dict[str, Any], write_dataset: Callable[..., Path]
) -> None:
    """Without the fixture: one run in a process of its own, on a data set of the user's."""
    pairs = [(f"u{u}", f"i{i}") for u in range(12) for i in range(u % 3, 15, 2)]
    rows = [("user_id:token", "item_id:token"), *pairs]
    data = {"data_path": str(write_dataset("own", inter=rows)), "load_col": None}
    small = {"topk": [5], "valid_metric": "Recall@5", "seeds": [4]}
    results = compare("Pop", "own", config_dict={**keys, **data, **small})
    (cell,) = row(results, "Pop")["cells"]
    assert (cell["status"], cell["seed"]) == ("finished", 4)
    folder = folder_of(keys) / cell["folder"]
    assert {"job.json", "memory.json", "output.txt"} <= {path.name for path in folder.iterdir()}


def test_cells_of_other_code_are_told_and_run_again(
    keys: dict[str, Any],
    in_process: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    use_search(monkeypatch, lambda *_, **given: Found({"reg_weight": 9.0}, 1, 0.5, given["folder"]))
    keys |= {"seeds": 1, "tune": 1}
    before = compare("EASE", "planted", config_dict=keys)
    told = "from another version of the code"
    assert told not in capsys.readouterr().out
    monkeypatch.setattr(plan, "source_digest", lambda folder: "0123456789abcdef")
    after = compare("EASE", "planted", config_dict=keys)
    assert in_process == 2 * ["search for EASE", "EASE, seed 1"]
    lines = [line for line in capsys.readouterr().out.splitlines() if told in line]
    assert [line.partition(":")[0] for line in lines] == ["search for EASE", "EASE, seed 1"]
    (old,), (new,) = row(before, "EASE")["cells"], row(after, "EASE")["cells"]
    assert old["folder"] in lines[1]
    assert old["folder"] != new["folder"]
    assert (folder_of(keys) / old["folder"] / "result.json").is_file()  # nothing is lost
    assert "0123456789abcdef" in after["code"]
    # Other settings are no other version.
    compare("EASE", "planted", config_dict={**keys, "tune": 0, "EASE.reg_weight": 1.0})
    assert told not in capsys.readouterr().out


def test_clock_that_goes_back(
    keys: dict[str, Any], in_process: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = itertools.count(2e9, -3600.0)
    monkeypatch.setattr(time, "time", lambda: next(moments))
    results = compare("BPR,EASE", "planted", config_dict={**keys, "seeds": 2, "tune": 1})
    for model in results["models"]:
        assert model["status"] == "finished"
        assert model["tuning"]["minutes"] >= 0
        costs = {name: value["mean"] for name, value in model["costs"].items()}
        assert min(value for value in costs.values() if value is not None) >= 0
    assert len({cell["folder"] for model in results["models"] for cell in model["cells"]}) == 4


def test_damaged_search_is_made_anew_from_its_study(
    keys: dict[str, Any],
    in_process: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    use_search(monkeypatch, lambda *_, **given: Found({"reg_weight": 9.0}, 1, 0.5, given["folder"]))
    keys |= {"seeds": 1, "tune": 1}
    before = compare("EASE", "planted", config_dict=keys)
    (path,) = folder_of(keys).glob("tuning/*/tuned.json")
    content = path.read_bytes()
    for mutated in mutations(content):
        path.unlink()
        if mutated is not None:
            path.write_bytes(mutated)
        in_process.clear()
        assert compare("EASE", "planted", config_dict=keys) == before
        assert in_process == ["search for EASE"]
        assert capsys.readouterr().out.count("it is made anew from its study") == bool(
            mutated is not None
        )
        assert path.read_bytes() == content


def test_search_whose_find_is_damaged_at_once_ends_nothing(
    keys: dict[str, Any], in_process: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def search(model: str, *rest: Any, **given: Any) -> Found:
        return Found({"reg_weight": 9.0} if "EASE" in model else {}, 1, 0.5, given["folder"])

    use_search(monkeypatch, search)
    real = worker.main

    def main(folder: Path) -> int:
        code = real(folder)
        if folder.parent.name == "tuning" and "EASE" in folder.name:
            (folder / "tuned.json").write_text("{")
        return code

    monkeypatch.setattr(worker, "main", main)
    results = compare("EASE,Pop", "planted", config_dict={**keys, "seeds": 1, "tune": 1})
    assert [model["status"] for model in results["models"]] == ["failed", "finished"]
    (cell,) = row(results, "EASE")["cells"] or [{"error": None}]
    assert "tuned.json: found no JSON" in cell["error"]

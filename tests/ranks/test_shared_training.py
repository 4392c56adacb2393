"""Several processes train what one does, and write one run."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rank_tools import launch, launch_by_torchrun
from shared_runs import DATASETS, OF_FEATURES, SASREC_SETTINGS, WITHOUT_DRAWS

import recbole_diffusion
from recbole_diffusion.training.checkpoint import read_checkpoint

# Of float32 sums in another order.
ROUNDING = 1e-5
# Users of the planted set, all of whom have interactions in its train part.
N_USERS = 200


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("alone")
    settings = {**SASREC_SETTINGS, "output_dir": str(folder)}
    return recbole_diffusion.run_recbole_diffusion("SASRec", "planted", config_dict=settings)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two ranks, of which one was killed in the last epoch."""
    folder = tmp_path_factory.mktemp("killed")
    first, second = launch(2, "shared_runs.py", folder, "sasrec_killed")
    assert second.code == -signal.SIGKILL
    assert first.code == 1
    line = "rank 0 ends: rank 1 died without a word (killed, or out of memory?)"
    assert first.out.endswith(f"error: {line}\n")
    assert line in (folder / "killed" / "run.log").read_text()
    return folder / "killed"


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory, killed: Path) -> tuple[Path, list[Any]]:
    """Folder and finds of three ranks."""
    folder = tmp_path_factory.mktemp("three")
    write_features(folder)
    shutil.copytree(killed, folder / "killed")
    steps = ("exchanges", "gradients", "ncl", "sasrec", "diffusion", "resumed")
    ranks = launch(3, "shared_runs.py", folder, *steps)
    assert [rank.code for rank in ranks] == [0, 0, 0], "\n".join(rank.out for rank in ranks)
    return folder, finds(folder, 3)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """Folder and finds of two ranks that torchrun started."""
    folder = tmp_path_factory.mktemp("two")
    ended = launch_by_torchrun(
        2, "shared_runs.py", folder, "exchanges", "sasrec", "stopped_and_resumed"
    )
    assert ended.code == 0, ended.out
    return folder, finds(folder, 2)


def finds(folder: Path, size: int) -> list[Any]:
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(size)]


def write_features(folder: Path) -> None:
    lines = (DATASETS / "planted" / "planted.item").read_text().splitlines()[1:]
    ids, _, genres = zip(*(line.split("\t") for line in lines), strict=True)
    matrix = np.array(genres)[:, None] == np.unique(genres)
    looks = np.random.default_rng(1).normal(size=(len(ids), 6))
    for name, content in (("genre", matrix), ("look", looks)):
        np.savez(folder / f"{name}.npz", ids=np.array(ids), matrix=content.astype(np.float32))


def losses(result: dict[str, Any]) -> list[float]:
    lines = (Path(result["run_folder"]) / "history.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def test_exchanges(three, two):
    for size, (_, ranks) in ((3, three), (2, two)):
        expected = [np.arange(2.0 * rank).reshape(rank, 2).tolist() for rank in range(size)]
        for found in ranks:
            exchanged = found["exchanges"]
            assert exchanged["gathered"] == expected
            assert exchanged["sum"] == [sum(range(1, size + 1))]
            assert exchanged["of_first"] == "é of 0"
            assert exchanged["any"] == [True, False]


def test_ranks_share_the_cores(three, two):
    cores = len(os.sched_getaffinity(0))
    assert three[1][0]["exchanges"]["threads"] == 1  # as OMP_NUM_THREADS says
    assert two[1][0]["exchanges"]["threads"] == max(cores // 2, 1)  # torchrun's 1 says nothing


@pytest.mark.parametrize("model", [*WITHOUT_DRAWS, *OF_FEATURES])
def test_shares_of_a_batch_give_its_loss_and_gradients(three, model):
    for found in three[1]:
        whole, of_few_rows = found["gradients"][model]
        assert max(whole) < ROUNDING
        assert max(of_few_rows) < ROUNDING


def test_shares_of_a_batch_give_the_loss_and_gradients_of_ncl(three):
    for found in three[1]:
        assert max(found["ncl"][0]) < ROUNDING


def test_ranks_learn_what_one_process_does(alone, two, three):
    for _, ranks in (two, three):
        result = ranks[0]["sasrec"]
        assert losses(result) == pytest.approx(losses(alone), rel=ROUNDING)
        assert result["environment"]["ranks"] == len(ranks)
        for other in ranks[1:]:
            assert other["sasrec"]["test"] == result["test"]
            assert other["sasrec"]["run_folder"] == result["run_folder"]


def test_evaluations_equal_those_of_one_process(two, three):
    results = [two[1][0]["sasrec"], *three[1][0]["diffusion"].values()]
    for result in results:
        again = recbole_diffusion.evaluate_run(result["run_folder"], {"state": "ERROR"})
        assert {**again["valid"]} == result["valid"], result["model"]
        assert {**again["test"]} == result["test"], result["model"]


@pytest.mark.parametrize("model", ["BPR", "DiffRec"])
def test_a_resumed_run_of_as_many_ranks_ends_with_the_same_bits(two, model):
    stopped, whole, resumed = two[1][0]["stopped_and_resumed"][model]
    assert stopped["stopped"] == "after epoch 0"
    assert stopped["epochs_trained"] == 1
    assert losses(resumed) == losses(whole)
    assert resumed["test"] == whole["test"]
    assert two[1][1]["stopped_and_resumed"][model][2]["test"] == whole["test"]


def test_there_is_one_run_folder_which_rank_0_writes(two):
    folder, ranks = two
    runs = list(folder.glob("SASRec-*"))
    assert runs == [Path(ranks[0]["sasrec"]["run_folder"])]
    assert len(list((runs[0] / "tensorboard").glob("events*"))) == 1
    assert len(losses(ranks[0]["sasrec"])) == SASREC_SETTINGS["epochs"]
    log = (runs[0] / "run.log").read_text()
    assert log.count("run folder: ") == 1
    assert "each of 2 ranks" in log


@pytest.mark.parametrize(
    ("model", "count"), [("DiffRec", "sampler.count"), ("recbole.DiffRec", ".Lt_count")]
)
def test_the_history_of_importance_sampling_has_the_rows_of_all_ranks(three, model, count):
    result = three[1][0]["diffusion"][model]
    content = read_checkpoint(Path(result["run_folder"]) / "last.pth")
    counts = {**content["state_dict"], **content["attributes"]}[count]
    # RecBole's counts up to the length of its history, and the padding user too.
    if model == "DiffRec":
        assert counts.sum() == 2 * N_USERS
    else:
        assert torch.equal(counts, torch.full_like(counts, 10))


def test_a_resumed_run_of_other_ranks_learns_the_same(alone, three, killed, tmp_path):
    by_three = three[1][0]["resumed"]
    assert losses(by_three) == pytest.approx(losses(alone), rel=ROUNDING)
    shutil.copytree(killed, tmp_path / "killed")
    by_one = recbole_diffusion.resume_run(tmp_path / "killed")
    assert losses(by_one) == pytest.approx(losses(alone), rel=ROUNDING)
    assert by_one["epochs_trained"] == by_three["epochs_trained"] == SASREC_SETTINGS["epochs"]

"""Runs on newer data that start from what an older run learned."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_diffusion import load_run, refresh_run, resume_run, run_recbole_diffusion
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.commands.cli import main
from recbole_diffusion.runs.saved import saved_result
from recbole_diffusion.runs.show import show
from recbole_diffusion.training.carry import BOTH, ITEMS, USERS, WHOLE, Matches, carry_over
from recbole_diffusion.training.checkpoint import read_checkpoint
from recbole_diffusion.training.trainer import RunTrainer

# Settings of a small model, by its name; RecBole's among them.
OURS: dict[str, dict[str, Any]] = {
    "DiffRec": {"hidden_sizes": [16], "steps": 1},  # with more, scores of new items come back
    "TDiffRec": {"hidden_sizes": [16], "steps": 1},
    "LDiffRec": {
        "n_clusters": 1,
        "encoder_sizes": [12, 20],
        "decoder_sizes": [14],
        "hidden_sizes": [12],
    },
    "LTDiffRec": {"n_clusters": 1, "encoder_sizes": [12], "hidden_sizes": [12]},
    "InfoDCL": {"embedding_size": 8, "channels": ["knowledge"], "pretrain_epochs": 1},
    "SimDiff": {"embedding_size": 8, "channels": ["text"]},
    "LD4MRec": {"hidden_size": 16, "svd_rank": 6, "modalities": ["text"]},
    "DiffMM": {"hidden_sizes": [16], "embedding_size": 8, "graph_items": 3},
    "PrefixDiff": {"embedding_size": 8, "n_heads": 2, "inner_size": 8, "skip": False},
    "SASRec": {"embedding_size": 8, "n_heads": 2, "inner_size": 8},
    "GRU4Rec": {"embedding_size": 8},
    "XSimGCL": {"embedding_size": 8},
    "CFDiff": {"latent_size": 8, "token_size": 4, "steps": 1, "sampling_steps": 1},  # as DiffRec
    # Its later steps and its vectors see new items.
    "GiffCF": {"embedding_size": 16, "steps": 1, "ideal_weight": 0},
    "FlowCF": {"hidden_sizes": [16], "sampling_steps": 1},  # as DiffRec
    # Its scores hold a draw a place of a user: with little noise.
    "DDRM": {
        "embedding_size": 8,
        "pretrain_epochs": 1,
        "steps": 2,
        "sampling_steps": 2,
        "noise_scale": 1e-9,
    },
    "VBPR": {"embedding_size": 8, "modal_size": 6},
    "BM3": {"embedding_size": 8},
    "LGMRec": {"embedding_size": 8, "global_weight": 0.0},  # hyperedges hold new items too
}
VIEWS = {"denoiser": "views", "hidden_sizes": [8, 6], "skip": False}
HOST: dict[str, dict[str, Any]] = {
    "BPR": {"embedding_size": 8},
    "LightGCN": {"embedding_size": 8},
    "NeuMF": {"mf_embedding_size": 8, "mlp_embedding_size": 8, "mlp_hidden_size": [8]},
    "MultiVAE": {"latent_dimension": 8, "mlp_hidden_size": [16]},
    "CDAE": {"embedding_size": 8},
    "GCMC": {"embedding_size": 8, "gcn_output_dim": 9},
}
CASES = [*OURS.items(), ("PrefixDiff", VIEWS), *HOST.items()]
# New items are neighbours of older ones by their features.
NEIGHBOURS = [(model, {"embedding_size": 8, "n_neighbors": 3}) for model in ("FREEDOM", "MGCN")]
# With the closed form, which newer data give other scores.
UNCHANGED = [
    *CASES,
    *NEIGHBOURS,
    ("PrefixDiff", {"embedding_size": 8, "n_heads": 2, "inner_size": 8}),
]
WITH_FEATURES = ("LD4MRec", "DiffMM", "SimDiff", "VBPR", "BM3", "FREEDOM", "MGCN", "LGMRec")
# Ids of odd kinds; the second user's looks like a number, and like another one's.
ODD = ["7", "07", "7.0", "ü-Nutzer", "a b", '"q"', "[PAD]x", "\u2028", "1e3", "None"]


def write(folder: Path, name: str, pairs: list[tuple[str, str, float]], seed: int = 0) -> None:
    """Atomic files of interactions with times, rows in a random order, and vectors of items."""
    order = np.random.default_rng(seed).permutation(len(pairs))
    (folder / name).mkdir(parents=True, exist_ok=True)
    rows = ["user_id:token\titem_id:token\ttimestamp:float"]
    rows += ["\t".join(map(str, pairs[row])) for row in order]
    text = "\n".join(rows) + "\n"
    (folder / name / f"{name}.inter").write_text(text, encoding="utf-8")
    ids = sorted({item for _, item, _ in pairs})
    vectors = [np.random.default_rng(abs(hash_of(token))).normal(size=4) for token in ids]
    np.savez(folder / f"{name}.npz", ids=np.array(ids), matrix=np.array(vectors))


def hash_of(token: str) -> int:
    return int.from_bytes(token.encode(), "little") % 2**32


def pairs_of(users: list[str], items: list[str], n_each: int) -> list[tuple[str, str, float]]:
    draw = np.random.default_rng(7)
    return [
        (user, items[int(item)], float(place))
        for user in users
        for place, item in enumerate(draw.permutation(len(items))[:n_each])
    ]


OLD_USERS = [*ODD, *(f"u{n}" for n in range(30))]
OLD_ITEMS = [*(f"x{n}" for n in range(17)), *ODD[:6]]
OLD = pairs_of(OLD_USERS, OLD_ITEMS, 10)
# Users and items that meet each other alone, so that no old one's neighbours change.
NEW = pairs_of([f"new{n}" for n in range(9)], [f"y{n}" for n in range(13)], 10)


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    write(tmp_path / "data", "older", OLD)

    def make(model: str, dataset: str, **keys: Any) -> dict[str, Any]:
        own: dict[str, Any] = {"epochs": 2, "learning_rate": 0.01}
        if model in WITH_FEATURES:
            own["item_features"] = {"text": {"file": str(tmp_path / "data" / f"{dataset}.npz")}}
        return {
            "data_path": str(tmp_path / "data"),
            "output_dir": str(tmp_path / "runs"),
            "show_progress": False,
            "use_gpu": False,
            "state": "WARNING",
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user"},
            "topk": [5],
            "valid_metric": "Recall@5",
            **own,
            **keys,
        }

    return make


def features(model: str, settings: Callable[..., dict[str, Any]], dataset: str) -> dict[str, Any]:
    return {k: v for k, v in settings(model, dataset).items() if k == "item_features"}


def scores(folder: str, users: list[str], items: list[str]) -> torch.Tensor:
    """Of users for items, both by original ids."""
    model, data = load_run(folder)
    numbers = torch.tensor([data.token2id("user_id", user) for user in users])
    places = torch.tensor([data.token2id("item_id", item) for item in items])
    pairs = {
        "user_id": numbers.repeat_interleave(len(places)),
        "item_id": places.repeat(len(users)),
    }
    with torch.no_grad():
        return model.predict(Interaction(pairs)).view(len(users), -1)


def test_an_older_row_is_found_again_at_each_place_of_a_dimension() -> None:
    matches = Matches(torch.tensor([0, 2, -1, 1]), torch.tensor([0, -1, 1]), 4, 3)
    expected = {
        (USERS, 4, 4): [0, 2, -1, 1],
        (USERS, 3, 3): [1, -1, 0],  # without the padding
        (ITEMS, 5, 5): [0, -1, 1, 3, 4],  # two further places
        (BOTH, 7, 7): [0, 2, -1, 1, 4, -1, 5],
        (WHOLE, 2, 2): [0, 1],
    }
    for asked, places in expected.items():
        found = matches.places(*asked)
        assert found is not None
        assert found.tolist() == places
    assert matches.places(WHOLE, 2, 3) is None
    assert matches.places(ITEMS, 6, 5) is None
    assert matches.newer_items().tolist() == [0, 2, 0]
    assert matches.counts() == {
        "users": {"matched": 2, "new": 1, "gone": 1},
        "items": {"matched": 1, "new": 1, "gone": 1},
    }


@pytest.mark.parametrize(("model", "keys"), UNCHANGED)
def test_unchanged_data_start_with_the_metrics_of_the_best_epoch(
    model: str, keys: dict[str, Any], settings: Callable[..., dict[str, Any]]
) -> None:
    older = run_recbole_diffusion(model, "older", config_dict=settings(model, "older", **keys))
    newer = refresh_run(older["run_folder"], config_dict={"epochs": 0})
    assert newer["valid"] == older["valid"]
    assert newer["test"] == older["test"]
    assert newer["best_epoch"] == -1
    assert newer["refreshed_from"] == older["run_folder"]
    assert newer["refreshed"]["users"] == {"matched": 40, "new": 0, "gone": 0}
    assert newer["refreshed"]["items"] == {"matched": 23, "new": 0, "gone": 0}
    assert newer["refreshed"]["parameters"]["fresh"] == 0


@pytest.mark.parametrize(("model", "keys"), CASES)
def test_scores_of_older_ids_stay_among_permuted_and_new_ones(
    model: str,
    keys: dict[str, Any],
    settings: Callable[..., dict[str, Any]],
    tmp_path: Path,
) -> None:
    if model == "DiffMM":  # new users' edges would be others to old items
        keys = {**keys, "modal_graph_weight": 0.0}
    older = run_recbole_diffusion(model, "older", config_dict=settings(model, "older", **keys))
    write(tmp_path / "data", "newer", NEW + OLD, seed=3)
    changes = {"epochs": 0, **features(model, settings, "newer")}
    newer = refresh_run(older["run_folder"], "newer", changes)
    assert newer["refreshed"]["users"] == {"matched": 40, "new": 9, "gone": 0}
    assert newer["refreshed"]["items"] == {"matched": 23, "new": 13, "gone": 0}
    assert newer["refreshed"]["parameters"]["fresh"] > 0
    before, after = (
        scores(result["run_folder"], OLD_USERS, OLD_ITEMS) for result in (older, newer)
    )
    is_finite = before.isfinite()
    assert torch.equal(is_finite, after.isfinite())
    if model == "PrefixDiff":  # probabilities are shares among more items
        before, after = before.log_softmax(dim=1), after.log_softmax(dim=1)
    torch.testing.assert_close(after[is_finite], before[is_finite], atol=1e-5, rtol=1e-4)


def test_generated_edges_of_older_users_are_kept(
    settings: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    older = run_recbole_diffusion("DiffMM", "older", config_dict=settings("DiffMM", "older"))
    gone = {item for _, item, _ in OLD} & {"x3"}
    write(tmp_path / "data", "newer", NEW + [row for row in OLD if row[1] not in gone], seed=3)
    changes = {"epochs": 0, **features("DiffMM", settings, "newer")}
    newer = refresh_run(older["run_folder"], "newer", changes)
    edges = []
    for result in (older, newer):
        model, data = load_run(result["run_folder"])
        table = model.generated_text[[data.token2id("user_id", user) for user in OLD_USERS]]
        edges.append([set(data.id2token("item_id", row[row > 0])) - gone for row in table])
    assert edges[0] == edges[1]
    assert newer["refreshed"]["items"]["gone"] == 1


def test_a_new_item_gets_the_vector_that_its_users_give_it(
    settings: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    keys = settings("LD4MRec", "older", svd_rank=6, hidden_size=16)
    older = run_recbole_diffusion("LD4MRec", "older", config_dict=keys)
    added = [(user, "z", -1.0) for user in OLD_USERS[:5]]
    write(tmp_path / "data", "newer", OLD + added)
    changes = {"epochs": 0, **features("LD4MRec", settings, "newer")}
    newer = refresh_run(older["run_folder"], "newer", changes)
    (before, data), (after, new_data) = (load_run(r["run_folder"]) for r in (older, newer))
    old_vectors, values = before.item_vectors.numpy(), before.singular_values.numpy()
    expected = np.zeros(len(values))
    for user in OLD_USERS[:5]:
        row = data.inter_feat["user_id"].numpy() == data.token2id("user_id", user)
        vectors = old_vectors[data.inter_feat["item_id"].numpy()[row]]
        expected += vectors.sum(axis=0) / values**2
    found = after.item_vectors[new_data.token2id("item_id", "z")].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_new_rows_are_those_of_a_fresh_model(
    settings: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    older = run_recbole_diffusion("BPR", "older", config_dict=settings("BPR", "older"))
    write(tmp_path / "data", "newer", NEW + OLD, seed=3)
    newer = refresh_run(older["run_folder"], "newer", {"epochs": 0})
    fresh = run_recbole_diffusion("BPR", "newer", config_dict=settings("BPR", "newer", epochs=0))
    (carried, data), (untouched, _) = (load_run(r["run_folder"]) for r in (newer, fresh))
    is_new = [str(token).startswith("new") for token in data.field2id_token["user_id"]]
    tables = carried.user_embedding.weight, untouched.user_embedding.weight
    is_equal = (tables[0] == tables[1]).all(dim=1).tolist()
    assert is_equal[1:] == is_new[1:]


@pytest.mark.parametrize("model", ["EASE", "LinDiffRec", "TurboCF", "GFCF", "BSPM", "IALS"])
def test_a_solved_model_is_solved_anew(
    settings: Callable[..., dict[str, Any]], tmp_path: Path, model: str
) -> None:
    keys = settings(model, "older")
    del keys["learning_rate"]
    older = run_recbole_diffusion(model, "older", config_dict={**keys, "state": "INFO"})
    write(tmp_path / "data", "newer", NEW + OLD)
    newer = refresh_run(older["run_folder"], "newer")
    keys["output_dir"] = str(tmp_path / "anew")
    assert newer["test"] == run_recbole_diffusion(model, "newer", config_dict=keys)["test"]
    assert newer["refreshed"]["parameters"]["carried"] == 0
    assert "solved anew" in (Path(newer["run_folder"]) / "run.log").read_text()


def test_the_start_is_kept_where_no_epoch_is_better(
    settings: Callable[..., dict[str, Any]],
) -> None:
    older = run_recbole_diffusion("BPR", "older", config_dict=settings("BPR", "older", epochs=30))
    newer = refresh_run(older["run_folder"], config_dict={"learning_rate": 0.0, "epochs": 3})
    assert f"without the start from {older['run_folder']}: " in show(newer["run_folder"])
    assert newer["best_epoch"] == -1
    assert newer["epochs_trained"] == 3
    assert newer["valid"] == older["valid"]
    assert read_checkpoint(Path(newer["run_folder"]) / "best.pth")["epoch"] == -1


@pytest.mark.usefixtures("saved_each_epoch")
@pytest.mark.parametrize("batch", [1, 3])
def test_an_interrupted_refresh_ends_with_the_same_bits(
    batch: int, settings: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    keys = {"train_batch_size": 200, "learning_rate": 0.05}
    older = run_recbole_diffusion("BPR", "older", config_dict=settings("BPR", "older", **keys))
    write(tmp_path / "data", "newer", NEW + OLD)
    whole = refresh_run(older["run_folder"], "newer", run_folder=tmp_path / "whole")
    seen = 0

    def check(self: Any, loss: torch.Tensor) -> None:
        nonlocal seen
        seen += 1
        if seen == batch:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunTrainer, "_check_nan", check)
        with pytest.raises(KeyboardInterrupt):
            refresh_run(older["run_folder"], "newer", run_folder=tmp_path / "cut")
    resumed = resume_run(tmp_path / "cut")
    for part in ("valid", "test", "best_epoch", "refreshed_from", "refreshed"):
        assert resumed[part] == whole[part]
    states = [
        read_checkpoint(tmp_path / name / "last.pth")["state_dict"] for name in ("whole", "cut")
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_refresh_that_was_cut_before_its_start_goes_on(
    settings: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = run_recbole_diffusion("BPR", "older", config_dict=settings("BPR", "older", epochs=20))
    with monkeypatch.context() as patch:
        patch.setattr("recbole_diffusion.runs.refresh.carry_over", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            refresh_run(older["run_folder"], None, {"epochs": 0}, run_folder=tmp_path / "cut")
    resumed = resume_run(tmp_path / "cut")
    assert resumed["valid"] == older["valid"]
    assert resumed["refreshed"]["users"]["matched"] == 40


def _interrupt(*args: Any) -> None:
    raise KeyboardInterrupt


def test_the_command_takes_data_of_the_same_name_and_further_keys(
    settings: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    older = run_recbole_diffusion("BPR", "older", config_dict=settings("BPR", "older"))
    shutil.rmtree(tmp_path / "data" / "older")
    write(tmp_path / "data", "older", NEW + OLD)
    folder = tmp_path / "refreshed"
    assert main(["refresh", older["run_folder"], f"--output_dir={folder}", "--epochs=1"]) == 0
    (run,) = folder.glob("BPR-*")
    result = saved_result(run)
    assert result["epochs_trained"] == 1
    assert result["refreshed"]["users"] == {"matched": 40, "new": 9, "gone": 0}
    assert f"# refreshed from {older['run_folder']}" in (run / "config.yaml").read_text()


def test_what_cannot_be_matched_is_refused(
    settings: Callable[..., dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = settings("BPR", "older")
    older = Path(run_recbole_diffusion("BPR", "older", config_dict=keys)["run_folder"])
    write(tmp_path / "data", "others", NEW)
    with pytest.raises(UserError, match=r"none of the 9 users, such as 'new\d', is among the 40"):
        refresh_run(older, "others")
    clustered = settings("LDiffRec", "older", n_clusters=2, pretrain_epochs=1)
    folder = run_recbole_diffusion("LDiffRec", "older", config_dict=clustered)["run_folder"]
    with pytest.raises(UserError, match="model LDiffRec: .*expected n_clusters: 1"):
        refresh_run(folder)
    joint = run_recbole_diffusion("recbole.DiffRec", "older", config_dict=settings("", "older"))
    with pytest.raises(UserError, match="its 34 may be 24 items and 10 others"):
        refresh_run(joint["run_folder"])
    (older / "ids.npz").unlink()
    with pytest.raises(UserError, match=r"holds no ids\.npz"):
        refresh_run(older)
    assert main(["refresh"]) == 2
    assert "expected refresh RUN" in capsys.readouterr().err


def test_sizes_that_do_not_tell_are_refused(settings: Callable[..., dict[str, Any]]) -> None:
    alike = torch.nn.Linear(5, 40)
    saved = {"state_dict": alike.state_dict()}
    known = torch.arange(5)
    with pytest.raises(UserError, match="its 5 may be the number of users or of items"):
        carry_over(alike, saved, Matches(known, known, 5, 5), [])
    with pytest.raises(UserError, match="its 5 may be the number of items or of a setting"):
        carry_over(alike, saved, Matches(torch.arange(9), known, 9, 5), [5])
    with pytest.raises(UserError, match="its 5 may be 3 items and 2 others"):
        carry_over(alike, saved, Matches(torch.arange(9), torch.arange(3), 9, 3), [2])
    newer = torch.nn.Linear(6, 40)
    with pytest.raises(UserError, match="expected a dimension of users, of items, or of one size"):
        carry_over(newer, saved, Matches(torch.arange(9), torch.arange(3), 9, 3), [])

"""Lists of a saved run: cold items where the model scores them, and nowhere else."""

from pathlib import Path
from typing import Any

import pytest
from cold_tools import make_cold_data

from recbole_diffusion import load, run_recbole_diffusion
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.serving.export import export
from recbole_diffusion.serving.score import score

KEPT = {"keep_cold_items": True, "eval_args": {"split": {"RS": [8, 1, 1]}}}
# Of 40 further items that nobody has met; group 3 is that of user u3.
UNMET = [f"i{item}" for item in range(320, 360)]
OWN = [item for item in UNMET if int(item[1:]) % 8 == 3]


def run_of(tmp_path: Path, model: str, **keys: Any) -> Path:
    data = make_cold_data(tmp_path, n_unmet=40) | KEPT
    return Path(run_recbole_diffusion(model, "made", config_dict=data | keys)["run_folder"])


def test_a_model_that_scores_cold_items_recommends_them(tmp_path: Path) -> None:
    recommender = load(run_of(tmp_path, "LinDiffRec"))
    assert recommender.items[320:] == UNMET
    found = recommender.recommend(["u3"], k=5, items=UNMET)
    assert set(found["item"]) == set(OWN)
    scores = recommender.score(["u3"] * 5, found["item"].tolist())
    assert scores.tolist() == pytest.approx(found["score"].tolist())
    assert set(recommender.recommend(["u3"], k=60, where={"kind": "k3"})["item"]) >= set(OWN)
    cold = recommender.recommend(["u3"], k=60, only_cold=True)
    assert set(cold["item"]) == set(UNMET)
    assert set(cold["item"][: len(OWN)]) == set(OWN)
    near = recommender.similar([OWN[0]], k=10)
    kinds = {int(item[1:]) % 8 for item in near["similar"]}
    assert kinds == {3}
    fresh = recommender.recommend(histories={"new": OWN[:2]}, k=10)
    assert {int(item[1:]) % 8 for item in fresh["item"]} == {3}
    assert (recommender.explain("u3", OWN[0])["value"] != 0).any()


@pytest.mark.parametrize("model", ["BPR", "EASE"])
def test_a_model_that_cannot_never_lists_them(tmp_path: Path, model: str) -> None:
    folder = run_of(tmp_path, model, **({"epochs": 1} if model == "BPR" else {}))
    recommender = load(folder)
    everything = recommender.recommend(["u1", "u3"], k=360)
    assert len(everything)
    assert not set(everything["item"]) & set(UNMET)
    assert not set(recommender.similar(["i3"], k=360)["similar"]) & set(UNMET)
    assert not set(recommender.recommend(["u3"], k=360, where={"kind": "k3"})["item"]) & set(UNMET)
    for refused in (
        lambda: recommender.score(["u3"], UNMET[:1]),
        lambda: recommender.similar(UNMET[:1]),
        lambda: recommender.explain("u3", UNMET[0]),
        lambda: recommender.recommend(["u3"], items=UNMET[:1], unknown="error"),
    ):
        with pytest.raises(UserError, match="cold, which this model cannot score.*'i3"):
            refused()
    pairs = tmp_path / "pairs.csv"
    pairs.write_text(f"user,item\nu3,{UNMET[0]}\nu3,i3\n")
    assert score(folder, pairs)["score"].isna().tolist() == [True, False]
    with pytest.raises(UserError, match=rf"40 cold items that {model} cannot score"):
        export(folder, tmp_path / "out", kind="embeddings" if model == "BPR" else "item-item")


def test_an_export_lists_cold_items_as_the_run_does(tmp_path: Path) -> None:
    folder = run_of(tmp_path, "LinDiffRec")
    exported = export(folder, tmp_path / "out", kind="item-item", kept=400)
    lists = [load(place).recommend(["u3"], k=5, items=UNMET) for place in (folder, exported)]
    assert lists[0]["item"].tolist() == lists[1]["item"].tolist()

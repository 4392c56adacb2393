"""Exported vectors and matrices, read by other tools, rank as the run does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from safetensors.numpy import load_file

from recbole_diffusion import load
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.commands.cli import main
from recbole_diffusion.serving.export import export


def lists_of(scores: np.ndarray, users: list[str], items: list[str]) -> dict[str, list[str]]:
    order = (-scores).argsort(axis=1, kind="stable")[:, :10]
    return {user: [items[i] for i in row] for user, row in zip(users, order, strict=True)}


def expected_lists(run: Path) -> dict[str, list[str]]:
    frame = load(run).recommend(k=10, exclude=())
    return {str(user): rows["item"].tolist() for user, rows in frame.groupby("user", sort=False)}


@pytest.mark.parametrize("model", ["BPR", "LightGCN"])
def test_vectors_rank_as_the_run_does(
    run_of: Callable[..., Path], model: str, tmp_path: Path
) -> None:
    run, found = run_of(model), {}
    for form in ("npy", "parquet", "safetensors"):
        folder = export(run, tmp_path / form, format=form)
        if form == "parquet":
            frames = [pd.read_parquet(folder / f"{name}.parquet") for name in ("users", "items")]
            users, items = (np.stack(frame["vector"].tolist()) for frame in frames)
            ids = [frame["id"].tolist() for frame in frames]
        else:
            names = ("users", "items")
            stored = load_file(folder / "vectors.safetensors") if form == "safetensors" else {
                name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in names
            }  # fmt: skip
            users, items = (stored[name] for name in names)
            ids = [
                (folder / f"{n}_ids.txt").read_text("utf-8").split("\n")[:-1]
                for n in ("user", "item")
            ]
        assert users.dtype == items.dtype == np.float32
        found[form] = lists_of(users @ items.T, *ids)
        assert f"# {model} on odd: embeddings" in (folder / "card.md").read_text()
    assert found["npy"] == found["parquet"] == found["safetensors"] == expected_lists(run)


@pytest.mark.parametrize("model", ["EASE", "LinDiffRec"])
def test_a_matrix_ranks_as_the_run_does(
    run_of: Callable[..., Path], model: str, tmp_path: Path
) -> None:
    recommender = load(run_of(model))
    folder = export(run_of(model), tmp_path / "out", kind="item-item", kept=10**6)
    matrix = sp.load_npz(folder / "item_item.npz").toarray()
    ids = (folder / "item_ids.txt").read_text("utf-8").split("\n")[:-1]
    assert ids == recommender.items
    histories = {f"h{n}": [ids[n], ids[n + 7], ids[2 * n + 1]] for n in range(3, 9)}
    frame = recommender.recommend(histories=histories, k=10)
    for name, items in histories.items():
        row = np.isin(ids, items).astype(float)
        scores = np.where(row > 0, -np.inf, row @ matrix)
        of_name = frame[frame["user"] == name]
        best = -np.sort(-scores)[:10]
        shares = of_name["score"] / of_name["score"].max()
        np.testing.assert_allclose(best / best[0], shares, rtol=1e-3, atol=1e-5)
    small = export(run_of(model), tmp_path / "small", kind="item-item", kept=5)
    few = sp.load_npz(small / "item_item.npz").toarray()
    assert ((few != 0).sum(axis=0) <= 5).all()
    largest = -np.sort(-np.abs(matrix), axis=0)[:5]
    np.testing.assert_allclose(-np.sort(-np.abs(few), axis=0)[:5], largest)


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(
    run_of: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused: list[tuple[str, dict[str, Any]]] = [
        ("EASE", {"kind": "embeddings"}),
        ("EASE", {"index": "flat"}),
        ("NeuMF", {}),
        ("BPR", {"kind": "item-item"}),
        ("NeuMF", {"kind": "onnx"}),
    ]
    for model, keys in refused:
        others = "; this model can be exported by --as=" if model != "NeuMF" else "--as=[a-z]+$"
        with pytest.raises(UserError, match=f"expected such a model for .*{others}"):
            export(run_of(model), tmp_path / "out", **keys)
    kinds: list[dict[str, Any]] = [
        {"kind": "pickle"},
        {"format": "csv"},
        {"kept": 0},
        {"index": "tree"},
        {"index": "flat", "kind": "onnx"},
        {"without_users": "no"},
        {"out": "/proc/out"},
    ]
    for keys in kinds:
        with pytest.raises(UserError):
            export(run_of("BPR"), **{"out": tmp_path / "out", **keys})
    assert list(tmp_path.iterdir()) == []
    words = ["export", str(run_of("BPR")), f"--out={tmp_path / 'out'}", "--format=parquet"]
    assert main(words) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "card.json", "card.md", "config.yaml", "history_map.npy", "interactions.npz",
        "item_columns.parquet", "item_ids.txt", "items.parquet", "user_ids.txt", "users.parquet",
    ]  # fmt: skip
    assert main(words) == 2
    assert "is there already" in capsys.readouterr().err


def test_a_model_without_vectors_is_exported_as_a_matrix_and_says_so(
    run_of: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["export", str(run_of("LinDiffRec")), f"--out={out}"]) == 0
    assert "export: as item-item: model LinDiffRec has no vectors" in capsys.readouterr().out
    assert (out / "item_item.npz").is_file()

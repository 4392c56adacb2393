"""ONNX graphs, run by onnxruntime alone, score as the run does."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from odd_ids import ITEMS, USERS

from recbole_diffusion import load
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.nn.rows import DenseRows, RowBatch
from recbole_diffusion.serving import graphs
from recbole_diffusion.serving.export import export

onnxruntime = pytest.importorskip("onnxruntime", exc_type=ImportError)

# Reads the folder's files with numpy and onnxruntime, as another program would.
ALONE = """
import json, sys
import numpy as np, onnxruntime
folder = sys.argv[1]
session = onnxruntime.InferenceSession(f"{folder}/model.onnx")
ids = open(f"{folder}/item_ids.txt", encoding="utf-8", newline="").read().split("\\n")[:-1]
histories = json.loads(sys.argv[2])
(name,) = [value.name for value in session.get_inputs()]
if name == "row":
    values = np.zeros((len(histories), len(ids)), np.float32)
    for row, history in zip(values, histories):
        row[[ids.index(item) for item in history]] = 1
else:
    values = np.zeros((len(histories), max(map(len, histories))), np.int64)
    for row, history in zip(values, histories):
        row[: len(history)] = [ids.index(item) + 1 for item in history]
scores = session.run(["scores"], {name: values})[0]
assert "torch" not in sys.modules
print(json.dumps([{ids[n]: float(row[n]) for n in range(len(ids))} for row in scores]))
"""


@pytest.mark.parametrize("model", ["DiffRec", "LDiffRec", "SASRec", "GRU4Rec", "PrefixDiff"])
def test_another_program_gets_the_lists_without_pytorch(
    run_of: Callable[..., Path], tmp_path: Path, model: str
) -> None:
    folder = export(run_of(model), tmp_path / "out", kind="onnx")
    # Of any number and length, longer than attention reads too.
    histories = [ITEMS[2:4], ITEMS[5:16], [ITEMS[9]], ITEMS[3:10], ITEMS[1:6]]
    command = [sys.executable, "-c", ALONE, str(folder), json.dumps(histories)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    scores = json.loads(done.stdout)
    named = {str(n): history for n, history in enumerate(histories)}
    expected = load(run_of(model)).recommend(histories=named, k=6)
    for (name, rows), found in zip(expected.groupby("user", sort=False), scores, strict=True):
        left = {item: score for item, score in found.items() if item not in named[str(name)]}
        best = sorted(left, key=lambda item: -left[item])[:6]
        assert rows["item"].tolist() == best
        np.testing.assert_allclose(rows["score"], [left[item] for item in best], rtol=1e-3)


def test_weights_by_age_are_made_outside(run_of: Callable[..., Path], tmp_path: Path) -> None:
    settings = {"recency": "exponential", "recency_decay": 0.5}
    run = load(run_of("TDiffRec", **settings))
    folder = export(run_of("TDiffRec", **settings), tmp_path / "out", kind="onnx")
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    history = ITEMS[4:9]
    row = np.zeros((1, len(run.items)), np.float32)
    for age, item in enumerate(reversed(history)):
        row[0, run.items.index(item)] = np.exp(-0.5 * age)
    scores = dict(zip(run.items, session.run(["scores"], {"row": row})[0][0], strict=True))
    expected = run.recommend(histories={"new": history}, k=20)
    np.testing.assert_allclose(
        [scores[item] for item in expected["item"]], expected["score"], rtol=1e-3, atol=1e-5
    )
    text = (folder / "card.md").read_text()
    assert "exp(-0.5 age) for each item" in text


def test_vectors_of_users_go_in(run_of: Callable[..., Path], tmp_path: Path) -> None:
    folder = export(run_of("LightGCN"), tmp_path / "out", kind="onnx")
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    users, items = (np.load(folder / f"{name}.npy") for name in ("users", "items"))
    found = session.run(["scores"], {"vector": users})[0]
    np.testing.assert_allclose(found, users @ items.T, rtol=1e-5, atol=1e-6)
    assert found.shape == (len(USERS), len(ITEMS))


@pytest.mark.parametrize(
    ("model", "settings", "told"),
    [
        ("DiffRec", {"sampling_steps": 2}, "key `sampling_steps`: found 2"),
        ("DiffRec", {"sampling_noise": True}, "no `sampling_noise`"),
        ("PrefixDiff", {"reverse_steps": 2}, "key `reverse_steps`: found 2"),
    ],
)
def test_what_a_graph_cannot_be_is_refused(
    run_of: Callable[..., Path], tmp_path: Path, model: str, settings: Any, told: str
) -> None:
    with pytest.raises(UserError, match=told):
        export(run_of(model, **settings), tmp_path / "out", kind="onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_scores_otherwise_is_refused(
    run_of: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = graphs.RowScores.forward
    monkeypatch.setattr(graphs.RowScores, "forward", lambda self, row: right(self, row) * 1.001)
    with pytest.raises(UserError, match="scores of the export differ"):
        export(run_of("DiffRec"), tmp_path / "out", kind="onnx")


def test_dense_rows_do_what_sparse_ones_do() -> None:
    draw = np.random.default_rng(2)
    content = (draw.random((6, 9)) < 0.4) * draw.random((6, 9)).astype(np.float32)
    content[2] = 0
    places = np.nonzero(content)
    offsets = np.concatenate([[0], np.cumsum((content != 0).sum(axis=1))])
    sparse = RowBatch(
        torch.from_numpy(places[1]), torch.from_numpy(offsets), torch.from_numpy(content[places])
    )
    dense = DenseRows(torch.from_numpy(content))
    weight, degrees = torch.from_numpy(draw.random((9, 4))).float(), torch.arange(9.0)
    order = torch.tensor([3, -1, 0, 1, -1, 2, -1, 4, -1])
    torch.testing.assert_close(dense.product(weight), sparse.product(weight))
    torch.testing.assert_close(dense.lengths, sparse.lengths)
    torch.testing.assert_close(dense.columns(order).dense(5), sparse.columns(order).dense(5))
    torch.testing.assert_close(
        dense.normalized(degrees).dense(9), sparse.normalized(degrees).dense(9)
    )


def test_a_missing_package_is_named(
    run_of: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = export(run_of("LightGCN"), tmp_path / "out", kind="onnx")
    for module in ("onnx", "onnxruntime", "faiss"):
        monkeypatch.setitem(sys.modules, module, None)  # importing it fails
    with pytest.raises(UserError, match=r"needs onnxruntime .*recbole_diffusion\[onnx\]"):
        load(folder)
    with pytest.raises(UserError, match=r"--as=onnx needs onnx .*recbole_diffusion\[onnx\]"):
        export(run_of("LightGCN"), tmp_path / "other", kind="onnx")
    with pytest.raises(UserError, match=r"--index needs faiss .*recbole_diffusion\[faiss\]"):
        export(run_of("LightGCN"), tmp_path / "other", index="flat")


@pytest.mark.parametrize("denoiser", ["attention", "views"])
def test_a_network_beside_the_closed_form(run_of: Callable[..., Path], denoiser: str) -> None:
    """Whatever was learnt: the best epoch of a small run may be the closed form alone."""
    model = load(run_of("PrefixDiff", denoiser=denoiser)).source.network
    torch.manual_seed(3)
    for parameter in model.averaged.parameters():
        torch.nn.init.normal_(parameter)
    model.n_updates = 1
    histories = [[3, 1], [8], [5, 9, 2, 20, 11, 7, 4, 19]]
    items = torch.zeros(3, 9, dtype=torch.int64)
    for row, history in zip(items, histories, strict=True):
        row[: len(history)] = torch.tensor(history)
    expected = model.score_histories(histories)
    with torch.no_grad():
        found = graphs.PrefixScores(model).eval()(items)
    torch.testing.assert_close(found, expected[:, 1:], rtol=1e-4, atol=1e-4)
    model.n_updates = 0
    assert not torch.allclose(model.score_histories(histories), expected, atol=0.01)

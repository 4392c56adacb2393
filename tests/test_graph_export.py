"""The export of generated graphs against what the run itself holds."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_diffusion import load_run, run_recbole_diffusion
from recbole_diffusion.commands.graph_export import export_graphs, main
from recbole_diffusion.models.diffmm.graph_export import edge_table
from recbole_diffusion.nn.layers import unit_rows
from recbole_diffusion.nn.rows import history_rows

pytest.importorskip("matplotlib")


@pytest.fixture
def run(planted, tmp_path):
    """Folder of a short run with one modality, and the vectors by original id."""
    lines = (Path(planted["data_path"]) / "planted" / "planted.item").read_text().splitlines()
    ids = np.array([line.split("\t")[0] for line in lines[1:]])
    matrix = np.random.default_rng(1).normal(size=(len(ids), 4)).astype(np.float32)
    np.savez(tmp_path / "one.npz", ids=ids, matrix=matrix)
    keys = {"hidden_sizes": [16], "graph_items": 3, "train_batch_size": 512}
    features = {"one": {"file": str(tmp_path / "one.npz")}}
    result = run_recbole_diffusion(
        "DiffMM", "planted", config_dict={**planted, **keys, "item_features": features}
    )
    return Path(result["run_folder"]), dict(zip(ids, matrix.astype(np.float64), strict=True))


def cosine(one, other):
    return one @ other / np.linalg.norm(one) / np.linalg.norm(other)


def test_table_holds_every_edge_of_the_run(run, tmp_path, capsys):
    folder, vectors = run
    assert main([str(folder), f"--output={tmp_path / 'graphs'}", "--users=5"]) == 0
    written = [Path(line) for line in capsys.readouterr().out.splitlines()[-3:]]  # after the log
    assert [path.name for path in written] == ["one.csv", "one.similarity.csv", "one.svg"]
    table = pd.read_csv(written[0], dtype={"user_id": str, "item_id": str})
    model, data = load_run(folder)
    assert len(table) == 3 * (model.n_users - 1)
    met = pairs_of(data)
    for edge in table.sample(20, random_state=0).itertuples():
        user, item = data.token2id("user_id", edge.user_id), data.token2id("item_id", edge.item_id)
        assert model.generated_one[user, edge.rank - 1] == item
        assert edge.is_interaction == ((edge.user_id, edge.item_id) in met)
        others = [i for u, i in met if u == edge.user_id and i != edge.item_id]
        expected = np.mean([cosine(vectors[edge.item_id], vectors[i]) for i in others])
        assert edge.similarity == pytest.approx(expected, abs=1e-5)
    heat = pd.read_csv(written[1], index_col=0, dtype={"item_id": str})
    assert set(heat.index) <= set(table["item_id"])
    for one, other in ((0, 0), (0, len(heat) - 1)):
        expected = cosine(vectors[heat.index[one]], vectors[heat.columns[other]])
        assert heat.iloc[one, other] == pytest.approx(expected, abs=1e-5)
    assert ElementTree.parse(written[2]).getroot().tag.endswith("svg")


def pairs_of(data):
    users, items = (data.inter_feat[field].numpy() for field in ("user_id", "item_id"))
    return set(zip(data.id2token("user_id", users), data.id2token("item_id", items), strict=True))


def test_similarity_leaves_the_item_itself_out():
    """And is empty for a user who has met nothing else."""
    features = unit_rows(torch.tensor([[0.0, 0.0], [1, 0], [0, 1], [1, 1]]))
    generated = torch.tensor([[0, 0], [1, 3], [2, 1], [3, 2]])
    rows = history_rows([[1, 2], [2], []], 4)
    names = np.array(["[PAD]", "a", "b", "c"])
    table = edge_table(generated, features, rows, names, names)
    assert table["user_id"].tolist() == ["a", "a", "b", "b", "c", "c"]
    assert table["item_id"].tolist() == ["a", "c", "b", "a", "c", "b"]
    assert table["is_interaction"].tolist() == [1, 0, 1, 0, 0, 0]
    expected = [0, 0.5**0.5, np.nan, 0, np.nan, np.nan]
    np.testing.assert_allclose(table["similarity"], expected, atol=1e-6)


def test_what_cannot_be_exported(run, planted, tmp_path, capsys):
    folder, _ = run
    output = tmp_path / "graphs"
    output.mkdir()
    (output / "one.csv").write_text("mine")
    assert main([str(folder), f"--output={output}"]) == 2
    assert f"found {output / 'one.csv'}, expected a folder without it" in capsys.readouterr().err
    assert [path.name for path in output.iterdir()] == ["one.csv"]
    assert (output / "one.csv").read_text() == "mine"
    assert main([str(folder), f"--output={tmp_path / 'other'}", "--users=0"]) == 2
    assert "--users: found 0, expected 1.." in capsys.readouterr().err
    assert main([str(tmp_path / "nothing"), f"--output={tmp_path / 'other'}"]) == 2
    other = run_recbole_diffusion("Pop", "planted", config_dict=planted)
    assert main([other["run_folder"], f"--output={tmp_path / 'other'}"]) == 2
    assert "found a run of Pop, expected DiffMM" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_same_seed_draws_the_same_users(run, tmp_path):
    folder, _ = run
    tables = [
        export_graphs(folder, tmp_path / str(number), n_users=4, seed=seed)[1].read_text()
        for number, seed in enumerate((1, 1, 2))
    ]
    assert tables[0] == tables[1]
    assert tables[0] != tables[2]

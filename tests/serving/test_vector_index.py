"""FAISS indices of an export: what they find, and what the card says of it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recbole_diffusion import load
from recbole_diffusion.base.errors import DamagedFile
from recbole_diffusion.serving.export import export
from recbole_diffusion.serving.index import recall, write_index

faiss = pytest.importorskip("faiss", exc_type=ImportError)


def best_of(users: np.ndarray, items: np.ndarray, k: int) -> np.ndarray:
    """Items of the largest products, by numpy in double precision."""
    products = users.astype(np.float64) @ items.astype(np.float64).T
    return np.argsort(-products, axis=1, kind="stable")[:, :k]


def share(found: np.ndarray, best: np.ndarray) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found, best, strict=True)]))


def test_a_flat_index_finds_the_lists_of_the_run(
    run_of: Callable[..., Path], tmp_path: Path
) -> None:
    folder = export(run_of("BPR"), tmp_path / "out", index="flat")
    index = faiss.read_index(str(folder / "items.faiss"))
    users, items = (np.load(folder / f"{name}.npy") for name in ("users", "items"))
    scores, found = index.search(users, 10)
    np.testing.assert_array_equal(found, best_of(users, items, 10))
    np.testing.assert_allclose(scores, np.take_along_axis(users @ items.T, found, 1), atol=1e-6)
    run = load(run_of("BPR"))
    lists = run.recommend(k=10, exclude=()).groupby("user", sort=False)["item"].agg(list)
    assert lists.tolist() == [[run.items[n] for n in row] for row in found]
    card = json.loads((folder / "card.json").read_text())["index"]
    assert card["recall"] == {"10": 1.0}  # there are 25 items
    assert card["n_queries"] == len(users)
    assert "recall@10 1.0000 against exact search" in (folder / "card.md").read_text()


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_recall_is_that_of_the_file(tmp_path: Path, kind: str) -> None:
    draw = np.random.default_rng(5)
    items, users = (draw.standard_normal((n, 24)).astype(np.float32) for n in (6000, 200))
    told = write_index(tmp_path / "items.faiss", kind, items, users)
    found = faiss.read_index(str(tmp_path / "items.faiss")).search(users, 100)[1]
    for k in (10, 100):
        expected = share(found[:, :k], best_of(users, items, k))
        assert told["recall"][str(k)] == pytest.approx(expected, abs=1e-3)
    assert 0.3 < told["recall"]["100"] < 1  # neither of them is exact here
    assert told["kind"] == kind
    assert told["n_queries"] == 200


def test_recall_counts_what_is_found_of_the_best() -> None:
    best = np.array([[3, 1, 7], [2, 0, 5]])
    found = np.array([[7, 9, 3], [-1, -1, 1]])
    assert recall(found, best) == pytest.approx(2 / 6)
    assert recall(best, best) == 1


def test_a_damaged_index_is_refused(run_of: Callable[..., Path], tmp_path: Path) -> None:
    folder = export(run_of("BPR"), tmp_path / "out", index="hnsw", without_users=True)
    with (folder / "items.faiss").open("ab") as stream:
        stream.write(b"more")
    with pytest.raises(DamagedFile, match=r"items\.faiss"):
        load(folder)

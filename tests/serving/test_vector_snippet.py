"""The page's snippet finds the exported vectors again in FAISS and in Qdrant."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbole_diffusion import load
from recbole_diffusion.serving.export import export

PAGE = Path(__file__).parents[2] / "docs" / "recommend.md"

pytest.importorskip("faiss", exc_type=ImportError)
pytest.importorskip("qdrant_client", exc_type=ImportError)


def executed(word: str, **other: str) -> dict[str, Any]:
    """Names that the page's snippet with a word leaves, some of its texts replaced."""
    fences = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (snippet,) = [fence for fence in fences if word in fence]
    for old, new in other.items():
        snippet = snippet.replace(f'"{old.removeprefix("_")}"', f'"{new}"')
    names: dict[str, Any] = {}
    exec(snippet, names)
    return names


def test_faiss_and_qdrant_give_the_lists_of_the_run(
    run_of: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(run_of("BPR"), tmp_path / "vectors", index="flat")
    monkeypatch.chdir(tmp_path)
    names = executed("QdrantClient")
    run = load(run_of("BPR"))
    expected = run.recommend(run.users[:1], k=10)["item"].tolist()
    assert names["by_faiss"] == expected
    assert names["by_qdrant"] == expected


def test_a_history_is_scored_by_the_sparse_matrix_alone(
    run_of: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(run_of("EASE"), tmp_path / "weights", kind="item-item")
    monkeypatch.chdir(tmp_path)
    best = executed("sp.load_npz", _50="i3", _181="ü?")["best"]
    expected = load(run_of("EASE")).recommend(histories={"new": ["i3", "ü?"]}, k=8)["item"]
    assert [item for item in best if item not in ("i3", "ü?")][:8] == expected.tolist()

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


def test_faiss_and_qdrant_give_the_lists_of_the_run(
    run_of: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(run_of("BPR"), tmp_path / "vectors", index="flat")
    monkeypatch.chdir(tmp_path)
    fences = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (snippet,) = [fence for fence in fences if "QdrantClient" in fence]
    names: dict[str, Any] = {}
    exec(snippet, names)
    run = load(run_of("BPR"))
    expected = run.recommend(run.users[:1], k=10, exclude=())["item"].tolist()
    assert names["by_faiss"] == expected
    assert names["by_qdrant"] == expected

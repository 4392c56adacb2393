"""A comparison on held-out items: metrics of cold items beside the others."""

from pathlib import Path
from typing import Any

import pytest
from cold_tools import make_cold_data
from compare_tools import folder_of, row, run_in_process

from recbole_diffusion import compare


def test_metrics_among_cold_items_are_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_in_process(monkeypatch)
    keys: dict[str, Any] = make_cold_data(tmp_path) | {"keep_cold_items": True, "seeds": 1}
    del keys["show_progress"]
    keys |= {"output_dir": str(tmp_path / "comparisons"), "Plain.feature_weights": 0}
    results = compare("LinDiffRec,Plain=LinDiffRec,ItemKNN", "made", config_dict=keys)
    assert results["evaluation"]["metrics"][-4:] == [
        f"{name}@{k} (cold)" for name in ("recall", "ndcg") for k in (5, 10)
    ]
    assert row(results, "LinDiffRec")["test"]["recall@10 (cold)"]["mean"] > 0.6
    for name in ("Plain", "ItemKNN"):
        assert row(results, name)["test"]["recall@10 (cold)"]["mean"] == 0
    assert results["best"]["ndcg@10 (cold)"] == "LinDiffRec"
    table = (folder_of(keys) / "table.txt").read_text()
    assert "Recall@10 (cold)" in table.splitlines()[1]
    again = compare(
        "LinDiffRec",
        "made",
        config_dict={
            **{k: v for k, v in keys.items() if not k.startswith("Plain.")},
            "valid_metric": "Recall@10 (cold)",
            "output_dir": str(tmp_path / "by cold items"),
        },
    )
    assert again["significance"]["metrics"] == ["recall@10", "ndcg@10"]
    other = folder_of({"output_dir": str(tmp_path / "by cold items")})
    assert "Coverage@10" in (other / "table.txt").read_text()

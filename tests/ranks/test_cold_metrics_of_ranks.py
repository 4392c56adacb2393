"""Ranks that share an evaluation measure warm and cold items as one process does."""

import json
from pathlib import Path

from rank_tools import launch
from shared_runs import COLD, COMMON

import recbole_diffusion


def test_two_ranks_measure_cold_items_as_one(tmp_path: Path) -> None:
    ranks = launch(2, "shared_runs.py", tmp_path, "cold")
    assert [rank.code for rank in ranks] == [0, 0], ranks[0].out
    settings = {**COMMON, **COLD, "output_dir": str(tmp_path / "alone")}
    alone = recbole_diffusion.run_recbole_diffusion("LinDiffRec", "planted", config_dict=settings)
    assert 0 < alone["test"]["recall@10 (cold)"] < 1
    for rank in range(2):
        found = json.loads((tmp_path / f"rank{rank}.json").read_text())["cold"]
        assert found == alone["test"]

"""The energy of training in the tables of a comparison."""

import importlib.machinery
from types import SimpleNamespace
from typing import Any

import pytest
from compare_tools import folder_of, run_in_process

from recbole_diffusion import compare
from recbole_diffusion.settings import layers
from recbole_diffusion.training import energy

METER = SimpleNamespace(
    start_task=lambda: None, stop_task=lambda: SimpleNamespace(energy_consumed=0.125)
)


@pytest.mark.parametrize("is_measured", [True, False])
def test_costs_show_energy_where_it_is_measured(
    planted: dict[str, Any], monkeypatch: pytest.MonkeyPatch, is_measured: bool
) -> None:
    run_in_process(monkeypatch)
    spec = importlib.machinery.ModuleSpec("codecarbon", None)
    monkeypatch.setattr(layers, "find_spec", lambda name: spec)
    monkeypatch.setattr(energy, "_meter", lambda: METER)
    keys = {**planted, "epochs": 2, "seeds": 1, "energy": is_measured}
    results = compare(["BPR"], "planted", config_dict=keys)
    (model,) = results["models"]
    assert ("energy_kwh" in model["costs"]) == is_measured
    tables = (folder_of(keys) / "table.md").read_text()
    assert ("kWh of training" in tables) == is_measured
    if is_measured:
        assert model["costs"]["energy_kwh"]["mean"] == 0.25
        assert "0.250000" in tables

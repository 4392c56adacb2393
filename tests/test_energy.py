"""The energy of training, as a stand-in of codecarbon or the package itself measures it."""

import importlib.machinery
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from recbole_diffusion import run_recbole_diffusion
from recbole_diffusion.training import energy
from recbole_diffusion.training.history import read_history


class Meter:
    """Each task takes a hundredth of a kWh more than the one before."""

    made: list[dict[str, Any]] = []
    n_tasks = 0

    def __init__(self, **arguments: Any) -> None:
        self.made.append(arguments)

    def start_task(self) -> None:
        self.n_tasks += 1

    def stop_task(self) -> SimpleNamespace:
        return SimpleNamespace(energy_consumed=self.n_tasks / 100)


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Meter]]:
    module = ModuleType("codecarbon")
    module.__spec__ = importlib.machinery.ModuleSpec("codecarbon", None)
    module.OfflineEmissionsTracker = Meter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "codecarbon", module)
    Meter.made.clear()
    energy._meter.cache_clear()
    yield Meter
    energy._meter.cache_clear()


def test_energy_is_that_of_the_epochs(planted: dict[str, Any], meter: type[Meter]) -> None:
    keys = {**planted, "epochs": 3, "energy": True}
    result = run_recbole_diffusion("BPR", "planted", config_dict=keys)
    assert [r["energy_kwh"] for r in read_history(result["run_folder"])] == [0.01, 0.02, 0.03]
    assert result["energy_kwh"] == pytest.approx(0.06)
    assert result["energy_joules"] == pytest.approx(0.06 * 3.6e6)
    (made,) = meter.made
    assert made["save_to_file"] is False
    table = (Path(result["run_folder"]) / "run.log").read_text()
    assert "energy of training, kWh           0.060000" in table


def test_the_stage_before_training_counts(planted: dict[str, Any], meter: type[Meter]) -> None:
    keys = {**planted, "energy": True, "pretrain_epochs": 2, "channels": ["knowledge"]}
    result = run_recbole_diffusion("InfoDCL", "planted", config_dict=keys)
    assert result["energy_kwh"] == pytest.approx(0.06)


def test_nothing_is_measured_without_the_key(planted: dict[str, Any], meter: type[Meter]) -> None:
    result = run_recbole_diffusion("BPR", "planted", config_dict=planted)
    assert not meter.made
    assert "energy_kwh" not in result


def test_codecarbon_measures_without_a_network_and_writes_no_file(
    planted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("codecarbon")
    energy._meter.cache_clear()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    keys = {**planted, "energy": True}
    result = run_recbole_diffusion("BPR", "planted", config_dict=keys)
    energy._meter.cache_clear()
    assert 0 < result["energy_kwh"] < 1e-3
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]

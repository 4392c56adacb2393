"""Pickles that lie where RecBole saves its own are never opened."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from recbole.data.utils import create_dataset, load_split_dataloaders

from recbole_diffusion.runs.quick_start import run_recbole_diffusion
from recbole_diffusion.settings.config import Config

pytestmark = pytest.mark.compat

NAMES = ("planted-Dataset.pth", "planted-AtomicDataset.pth", "planted-for-EASE-dataloader.pth")


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that any of the planted pickles would make; they lie in ``saved`` and here."""
    marker = tmp_path / "opened"
    (tmp_path / "saved").mkdir()
    for name in NAMES:
        for folder in (tmp_path, tmp_path / "saved"):
            (folder / name).write_bytes(pickle.dumps(Payload(marker)))
    monkeypatch.chdir(tmp_path)
    return marker


def test_a_run_opens_no_pickle(planted: dict[str, Any], marker: Path) -> None:
    result = run_recbole_diffusion("EASE", "planted", (), planted)
    assert result["test"]["recall@20"] > 0
    assert not marker.exists()


@pytest.mark.parametrize("load", ["dataset", "loaders"])
def test_the_host_would_open_them(planted: dict[str, Any], marker: Path, load: str) -> None:
    """RecBole's functions, which no patch touches, with its own folder ``saved``."""
    config = Config("EASE", "planted", (), planted)
    assert config["checkpoint_dir"] == "saved"
    with pytest.raises((AttributeError, TypeError)):  # what was made is no data set
        create_dataset(config) if load == "dataset" else load_split_dataloaders(config)
    assert marker.exists()

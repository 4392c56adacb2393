"""TensorBoard's events are written at once, so that nothing has to be waited for at the end."""

import logging
import threading
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from recbole_diffusion.training.curves import Curves


def curve(folder: Path, name: str) -> dict[int, float]:
    return {e.step: e.value for e in EventAccumulator(str(folder)).Reload().Scalars(name)}


def test_events_are_there_before_the_end(tmp_path: Path) -> None:
    n_threads = threading.active_count()
    curves = Curves(tmp_path)
    assert list(tmp_path.iterdir()) == []
    curves.add_scalar("loss", torch.tensor(0.5), 0)
    curves.add_scalar("loss", 0.25, 1)
    assert curve(tmp_path, "loss") == {0: 0.5, 1: 0.25}  # as after a kill
    assert threading.active_count() == n_threads
    curves.close()
    curves.close()
    curves.add_scalar("loss", 0.125, 2)
    assert curve(tmp_path, "loss") == {0: 0.5, 1: 0.25, 2: 0.125}


def test_settings_have_a_folder_of_their_own(tmp_path: Path) -> None:
    curves = Curves(tmp_path)
    curves.add_hparams({"learner": "adam", "epochs": 3}, {"hparam/best": 0.5})
    (folder,) = tmp_path.iterdir()
    assert folder.is_dir()
    assert curve(folder, "hparam/best") == {0: 0.5}


def test_a_disk_that_takes_no_more_ends_the_curves_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "tensorboard").write_text("a file where the folder would be")
    curves = Curves(tmp_path / "tensorboard")
    with caplog.at_level(logging.WARNING):
        for step in range(3):
            curves.add_scalar("loss", 0.5, step)
    curves.close()
    assert [record.message for record in caplog.records] == [
        f"{tmp_path / 'tensorboard'}: no more curves: File exists"
    ]

"""Faults of the plain host that have no test beside the code that closes them.

The host's own functions are called, which the package leaves as they are. The other traps of
``docs/host.md`` are shown in ``test_compat.py``, ``test_resume.py`` and ``data/test_dataset.py``.
"""

import datetime
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.config import Config as HostConfig
from recbole.data import create_dataset
from recbole.trainer.trainer import get_local_time
from recbole.utils import init_logger, init_seed

from recbole_diffusion.data.split import _digest, load_split
from recbole_diffusion.runs.quick_start import run_recbole_diffusion
from recbole_diffusion.settings.config import Config

pytestmark = pytest.mark.compat


def host_digest(keys: dict[str, Any], seed: int, draws: int = 0) -> str:
    """Hash of the split as the host draws it: from the run's seed, after whatever was drawn."""
    config = Config("BPR", "planted", (), {**keys, "seed": seed})
    config["checkpoint_dir"] = "nowhere"
    init_seed(seed, reproducibility=True)
    torch.rand(draws)
    dataset = create_dataset(config)
    return _digest(dataset.build())


def test_split_hangs_on_split_seed_alone(planted: dict[str, Any]) -> None:
    assert host_digest(planted, 1) == host_digest(planted, 1)
    assert host_digest(planted, 1) != host_digest(planted, 2)
    assert host_digest(planted, 1) != host_digest(planted, 1, draws=1)
    ours = set()
    for model, seed in (("BPR", 1), ("BPR", 2), ("EASE", 1)):
        torch.rand(seed)
        ours.add(load_split(Config(model, "planted", (), {**planted, "seed": seed})).digest)
    assert len(ours) == 1


def test_visible_devices_stay_as_the_user_set_them(
    planted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    config = Config("BPR", "planted", (), planted)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
    config["gpu_id"] = "0"
    del config.final_config_dict["local_rank"]
    HostConfig._init_device(config)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"


@contextmanager
def fresh_process_logging() -> Iterator[None]:
    """The root logger without handlers, as a new process has it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.handlers.clear()
    try:
        yield
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)


def test_runs_of_one_second_and_one_process_keep_apart(
    planted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host names files by the second, in the working directory, and logs to the first one."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setattr("recbole.utils.utils.datetime", Clock)
    with fresh_process_logging():
        for model in ("BPR", "Pop"):
            init_logger(Config(model, "planted", (), planted))
            logging.getLogger().info("run of %s", model)
    assert get_local_time() == get_local_time()
    logs = {path.parent.name: path.read_text() for path in Path("log").rglob("*.log")}
    assert "run of Pop" in logs["BPR"]
    assert logs["Pop"] == ""

    with fresh_process_logging():
        results = [run_recbole_diffusion(m, "planted", config_dict=planted) for m in ("BPR", "Pop")]
    folders = [Path(result["run_folder"]) for result in results]
    assert folders[0] != folders[1]
    assert "Pop on planted" not in (folders[0] / "run.log").read_text()
    assert "Pop on planted" in (folders[1] / "run.log").read_text()
    assert [path.name for path in Path().iterdir()] == ["log"]  # the host's, above


class Clock:
    """Stands for the module ``datetime``: a microsecond later at every look."""

    class datetime:
        looks = 0

        @classmethod
        def now(cls) -> datetime.datetime:
            cls.looks += 1
            return datetime.datetime(2026, 1, 1, microsecond=cls.looks)

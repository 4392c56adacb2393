"""Fixtures for all tests."""

import gc
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbole_diffusion.settings import keys, property_files, registry

DATASETS = Path(__file__).resolve().parents[1] / "dataset_atomic"
# Reasons for which --no-other-skips lets a test be skipped.
SKIPS = [
    "the model is solved, without updates",
    "the model has no score_histories",
    "no two modalities to contrast",
    "not in this RecBole, or without faiss",
    "Skipped: not run'",  # a baseline that its own test has skipped
    "needs a CUDA device",
    "beside the clone",  # released data
    "could not import '(mlflow|codecarbon)'",  # extras that are large
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-other-skips", action="store_true", help="fail if a test is skipped unexpectedly"
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With --no-other-skips, a skipped test whose reason is not in ``SKIPS`` is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not session.config.getoption("--no-other-skips"):
        return
    reasons = {str(report.longrepr) for report in reporter.stats.get("skipped", [])}
    others = [reason for reason in reasons if not any(re.search(s, reason) for s in SKIPS)]
    if others:
        reporter.write_line("\n".join(["skipped, and not expected to be:", *sorted(others)]))
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_collection_finish() -> None:
    """Search for garbage seldom, and not in what imports made: a twentieth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_disks() -> Iterator[None]:
    """A tenth of the time of short runs; it serves a crash of the machine, which no test makes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator that starts anew in every test."""
    return np.random.default_rng(20260101)


@pytest.fixture
def planted(tmp_path: Path) -> dict[str, Any]:
    """Settings of a quiet run of one epoch on the planted set, under a temporary folder."""
    return {
        "data_path": str(DATASETS),
        "output_dir": str(tmp_path / "runs"),
        "show_progress": False,
        "epochs": 1,
    }


@pytest.fixture
def saved_each_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """``last.pth`` is written after each epoch, however short the epochs are."""
    monkeypatch.setattr("recbole_diffusion.training.saving.SHARE_OF_TIME", float("inf"))


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(registry, "_REGISTERED", dict(registry._REGISTERED))


@pytest.fixture
def own_properties(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder in place of the package's property files."""
    folder = tmp_path / "own_properties"
    folder.mkdir()
    monkeypatch.setattr(property_files, "properties_folder", lambda: folder)
    keys.declared_keys.cache_clear()
    yield folder
    keys.declared_keys.cache_clear()


@pytest.fixture
def write_dataset(tmp_path: Path) -> Callable[..., Path]:
    """Write tab-separated atomic files into ``tmp_path/data/<name>``; gives the data path."""

    def write(name: str, **files: Sequence[Sequence[str]]) -> Path:
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True, exist_ok=True)
        for suffix, rows in files.items():
            lines = "".join("\t".join(row) + "\n" for row in rows)
            (folder / f"{name}.{suffix.replace('__', '.')}").write_text(lines, encoding="utf-8")
        return folder.parent

    return write

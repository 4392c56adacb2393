"""Comparisons whose jobs are done in this process."""

import json
from pathlib import Path
from typing import Any

import pytest

from recbole_diffusion.studies.compare import worker
from recbole_diffusion.studies.jobs import local
from recbole_diffusion.studies.jobs.process import Job


class _Ended:
    """A process that did its work before it was looked at."""

    def __init__(self, returncode: int) -> None:
        self.returncode = returncode

    def poll(self) -> int:
        return self.returncode


def run_in_process(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Do jobs in this process, which is faster; gives the names of those started."""
    names: list[str] = []

    def start(job: Job, processes: int) -> _Ended:
        names.append(job.name)
        job.folder.mkdir(parents=True, exist_ok=True)
        (job.folder / "failure.json").unlink(missing_ok=True)
        (job.folder / "job.json").write_text(json.dumps(job.task))
        for name, value in job.variables.items():
            monkeypatch.setenv(name, value)
        return _Ended(worker.main(job.folder))

    monkeypatch.setattr(local, "_start", start)
    monkeypatch.setattr(local, "WAIT_SECONDS", 0.0)
    return names


def folder_of(keys: dict[str, Any]) -> Path:
    parent = Path(keys["output_dir"])
    (folder,) = (path for path in parent.iterdir() if path.name != "cache")
    return folder


def row(results: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (model for model in results["models"] if model["name"] == name)
    return found

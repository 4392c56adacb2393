"""RecBole in a Python of its own, as the other side of a benchmark (``host_side.py``)."""

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("host_side.py")
# Of a run's settings, those that RecBole's loading, sampling and ranking read.
KEYS = (
    *("USER_ID_FIELD", "ITEM_ID_FIELD", "TIME_FIELD", "load_col", "benchmark_filename"),
    *("eval_args", "train_neg_sample_args", "train_batch_size", "metrics", "topk"),
    *("valid_metric", "metric_decimal_place"),
)


class HostPython:
    """A process of plain RecBole that runs parts of a job when it is asked to.

    Args:
        python: Its interpreter.
        folder: Where it works; RecBole leaves files there.
        job: Of ``host_side.JOBS``.
        **request: What the job takes.

    Attributes:
        made: What it tells of its data.
    """

    def __init__(self, python: str, folder: Path, job: str, **request: Any) -> None:
        kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        self._process = subprocess.Popen(
            [os.path.abspath(python), "-W", "ignore", str(SCRIPT)],
            cwd=folder,
            env=kept | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.made = self._asked({"job": job, **request})

    def __enter__(self) -> "HostPython":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # which closes its input

    def run(self, part: str) -> dict[str, Any]:
        """CPU seconds of a part, what it made, and the peak MiB of the process so far."""
        return self._asked({"part": part})

    def seconds_of(self, part: str) -> Callable[[], float]:
        """Runs a part and gives its CPU seconds."""
        return lambda: float(self.run(part)["seconds"])

    def _asked(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"RecBole's side ended with code {self._process.wait()}")
        found: dict[str, Any] = json.loads(answer)
        return found


def host_keys(config: Any, folder: str | Path) -> dict[str, Any]:
    """Settings of a run as RecBole takes them, for the data in ``folder``."""
    known = {key: config[key] for key in KEYS if config[key] is not None}
    return {**known, "data_path": str(folder), "use_gpu": False, "show_progress": False}


def expect_same(what: str, ours: Any, host: Any) -> None:
    """End the benchmark where the sides have not done the same."""
    if ours != host:
        raise SystemExit(f"{what}: ours {ours}, RecBole's {host}, expected the same")


def digest(matrix: Any) -> str:
    """Of a sparse PyTorch matrix's entries, places and values, to the bit."""
    found = matrix.coalesce()
    content = found.indices().numpy().tobytes() + found.values().numpy().tobytes()
    return hashlib.sha256(content).hexdigest()

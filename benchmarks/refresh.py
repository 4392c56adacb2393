"""A run on newer data that starts from an older run, beside one that is trained anew.

    python benchmarks/refresh.py [--models=DiffRec,LightGCN,InfoDCL,PrefixDiff] [--dataset=ml-100k]

The older data are the earliest 80 % of the interactions, the newer ones all; both are split by
time within each user. Printed for each model: epochs and CPU seconds of the process until the best
epoch, with validations and the stage before training, and its metrics on the test part; -1 is the
start itself, whose seconds are those of the stage. Settings are the models' defaults.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from recbole_diffusion import Callback, refresh_run, run_recbole_diffusion
from recbole_diffusion.settings.folders import list_datasets

SHARE = 0.8
METRICS = ("recall@20", "ndcg@20")
KEYS = {"eval_args": {"order": "TO"}, "show_progress": False, "state": "WARNING"}


class Clock(Callback):
    """CPU seconds since the start of training, at each validation."""

    def on_start(self, folder: str, settings: Mapping[str, Any], is_resumed: bool) -> None:
        """Start."""
        self.began = time.process_time()
        self.seconds: dict[int, float] = {}

    def on_validation(self, epoch: Mapping[str, Any]) -> None:
        """Read the clock."""
        self.seconds[epoch["epoch"]] = time.process_time() - self.began


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="DiffRec,LightGCN,InfoDCL,PrefixDiff")
    parser.add_argument("--dataset", default="ml-100k")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        keys = {**KEYS, "data_path": f"{folder}/data", "output_dir": f"{folder}/runs"}
        write_data(Path(folder) / "data", options.dataset)
        names = "  ".join(f"{metric:>9}" for metric in METRICS)
        print(f"{'model':<12}{'start':<10}{'best epoch':>10}{'epochs':>8}{'CPU s':>8}  {names}")
        for model in options.models.split(","):
            measure(model, keys)


def measure(model: str, keys: dict[str, Any]) -> None:
    """Print the three runs of a model."""
    runs: list[tuple[str, dict[str, Any], Clock]] = []
    for start, dataset in (("older data", "older"), ("anew", "newer"), ("refreshed", "newer")):
        clock = Clock()
        with redirect_stdout(StringIO()):  # each run's own table
            if start == "refreshed":
                older = runs[0][1]["run_folder"]
                result = refresh_run(older, dataset, callbacks=[clock])
            else:
                result = run_recbole_diffusion(model, dataset, config_dict=keys, callbacks=[clock])
        runs.append((start, result, clock))
        values = "  ".join(f"{result['test'][metric]:>9.4f}" for metric in METRICS)
        best = result["best_epoch"]
        seconds = clock.seconds[best] if best >= 0 else result["pretrain_seconds"]
        print(
            f"{model:<12}{start:<11}{best:>9}{result['epochs_trained']:>8}"
            f"{seconds:>8.1f}  {values}",
            flush=True,
        )


def write_data(folder: Path, dataset: str) -> None:
    """The data sets ``older`` and ``newer``, from one with a column of times."""
    source = Path(list_datasets(None)[dataset]) / f"{dataset}.inter"
    head, *rows = source.read_text(encoding="utf-8").splitlines()
    place = [column.partition(":")[0] for column in head.split("\t")].index("timestamp")
    times = np.array([float(row.split("\t")[place]) for row in rows])
    order = times.argsort(kind="stable")
    for name, n_rows in (("older", int(SHARE * len(rows))), ("newer", len(rows))):
        (folder / name).mkdir(parents=True)
        text = "\n".join([head, *(rows[row] for row in order[:n_rows])]) + "\n"
        (folder / name / f"{name}.inter").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Cells of the reproduction's tables, run again: ``python benchmarks/cells.py``.

One solved model a data set whose files are there, with the settings of its committed result; the
exit code is 1 if Recall@20 on test is another one. ``--data_path`` is where the data are.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recbole_diffusion import run_recbole_diffusion
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.studies.compare.reproduction import joined_results

RESULTS = Path(__file__).with_name("results")
MODEL, METRIC = "LinDiffRec", "recall@20"
# Linear algebra of other machines rounds otherwise.
TOLERANCE = 5e-4
CARRIED = "ml-100k"  # by RecBole


def main() -> int:
    """Run and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_path", default="dataset_atomic")
    parser.add_argument("--datasets", help="of the tables; all without it")
    arguments = parser.parse_args()
    wanted = arguments.datasets.split(",") if arguments.datasets else None
    return check(wanted, arguments.data_path)


def check(wanted: Sequence[str] | None, data_path: str) -> int:
    """Run the cell of each data set, or of those that are wanted; 1 if one differs.

    Raises:
        UserError: One that is wanted has no committed result.
    """
    committed = joined_results(sorted(RESULTS.glob("*.json"))).values()
    names = sorted({results["dataset"] for results in committed})
    unknown = sorted({*(wanted or ())} - {*names})
    if unknown:
        raise UserError(f"found no committed result of {unknown[0]!r}, expected {', '.join(names)}")
    differ = False
    for results in committed:
        if wanted is None or results["dataset"] in wanted:
            rows = {row["name"]: row for row in results["models"]}
            split = results["evaluation"]["eval_args"]
            differ |= run_again(results["dataset"], split, rows[MODEL], data_path)
    return int(differ)


def is_here(dataset: str, data_path: str) -> bool:
    """Whether a data set can be read."""
    return dataset == CARRIED or any(Path(data_path, dataset).glob("*.inter"))


def run_again(dataset: str, split: dict[str, Any], row: dict[str, Any], data_path: str) -> bool:
    """Whether a cell differs from what is committed."""
    if not is_here(dataset, data_path):
        print(f"{dataset}: not here, see dataset_atomic/README.md")
        return False
    settings = {
        "eval_args": split,
        **row["settings"],
        **((row["tuning"] or {}).get("settings") or {}),
    }
    with tempfile.TemporaryDirectory() as folder:
        place = {"data_path": data_path, "output_dir": folder, "show_progress": False}
        found = run_recbole_diffusion(MODEL, dataset, config_dict={**settings, **place})
    value, expected = found["test"][METRIC], row["test"][METRIC]["mean"]
    differs = abs(value - expected) > TOLERANCE
    verdict = "DIFFERS" if differs else "the same"
    print(f"{dataset}: {MODEL}, {METRIC} {value:.4f}, committed {expected:.4f}: {verdict}")
    return differs


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"error: {error}")

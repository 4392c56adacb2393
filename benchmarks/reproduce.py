"""Rows of the reproduction page, from a release to the table.

    python benchmarks/reproduce.py office --source=RELEASE --models=LinDiffRec,LightGCN
    python benchmarks/reproduce.py office --models=SimDiff --tune=30 --cluster=auto
    python benchmarks/reproduce.py --check ml-100k

Converts a release if its data set is not there yet, searches, trains and tests the models by
``compare`` (further words go to it), keeps the result beside the committed ones, and writes
docs/reproduction.md anew. Stopped, it goes on where it was. ``--check`` runs one committed cell
again.
"""

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from cells import CARRIED, RESULTS, check, is_here

from recbole_diffusion import compare
from recbole_diffusion.base.errors import RunsFailed, UserError, exit_code
from recbole_diffusion.base.files import write_json
from recbole_diffusion.commands.cli import parse_arguments
from recbole_diffusion.commands.convert import convert_files
from recbole_diffusion.settings.property_files import properties_folder
from recbole_diffusion.studies.compare.reproduction import write_reproduction

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reproduction.md"
# What the releases are, as ``convert --as`` has it.
FORMATS = {
    "office": "text-split",
    "ml-1m_clean": "npy-split",
    "taobao": "npy-split",
    "tiktok": "diffmm",
    "microlens": "microlens",
    **dict.fromkeys(("baby", "sports", "electronics"), "mmrec"),
}
BUDGET = {"seeds": 3, "tune": 15, "tune_minutes": 30, "metrics": ["Recall", "NDCG", "Precision"]}


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; gives its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("split", choices=[CARRIED, *FORMATS])
    parser.add_argument("--models", help="as `compare` takes them")
    parser.add_argument("--source", help="folder of the release, where it is not converted yet")
    parser.add_argument("--data_path", default="dataset_atomic")
    parser.add_argument("--output_dir", default="reproductions")
    parser.add_argument("--check", action="store_true", help="run one committed cell again")
    known, others = parser.parse_known_args(words)
    return exit_code(lambda: check_again(known) if known.check else reproduce(known, others))


def check_again(known: argparse.Namespace) -> None:
    """Run one committed cell.

    Raises:
        RunsFailed: It differs.
        UserError: None is committed.
    """
    if check([known.split], known.data_path):
        raise RunsFailed


def reproduce(known: argparse.Namespace, others: Sequence[str]) -> None:
    """Convert, compare, and write the page.

    Raises:
        UserError: No data set and no release, or what the commands refuse.
    """
    if known.models is None:
        raise UserError("expected --models=NAME,... or --check")
    if not is_here(known.split, known.data_path):
        convert(known)
    settings = {**BUDGET, **parse_arguments(others), "models": known.models}
    place = {"output_dir": known.output_dir, "show_progress": False}
    if known.split != CARRIED:
        place["data_path"] = known.data_path
    results = compare(dataset=known.split, config_dict={**settings, **place})
    if all(model["status"] == "not run" or not model["test"] for model in results["models"]):
        raise UserError("none of the models has a result; see what was told above")
    digest = hashlib.sha256(results["command"].encode()).hexdigest()[:8]
    target = RESULTS / f"{known.split}_{digest}.json"
    write_json(target, results)
    write_reproduction(sorted(RESULTS.glob("*.json")), PAGE)
    sys.stdout.write(f"{target}\n{PAGE}\n")


def convert(known: argparse.Namespace) -> None:
    """Make the data set of a release."""
    if known.source is None:
        path = properties_folder() / "dataset" / f"{known.split}.yaml"
        lines = path.read_text(encoding="utf-8").splitlines()
        head = "\n".join(line for line in lines if line.startswith("#"))
        raise UserError(
            f"{Path(known.data_path, known.split).resolve()}: found no data set; expected one, or "
            f"--source=FOLDER with the release:\n{head}"
        )
    form = f"--as={FORMATS[known.split]}"
    place = [f"--name={known.split}", f"--output={known.data_path}"]
    convert_files([known.source, form, *place])


if __name__ == "__main__":
    sys.exit(main())

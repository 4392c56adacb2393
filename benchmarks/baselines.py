"""Every general recommender of RecBole on ml-100k: does it run, and what do its epochs cost.

    python benchmarks/baselines.py --output=runs/baselines

Finished models stand in ``baselines.json`` of the output folder and are not run again, so that an
interrupted run goes on; delete the file, or single rows, to measure anew. The table is printed at
the end.
"""

import argparse
import json
import time
from pathlib import Path

import torch

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.runs.quick_start import run_recbole_diffusion
from recbole_diffusion.settings.registry import HOST_PREFIX, OPTIONAL_PACKAGES, always, list_models

# Where RecBole's defaults do not fit ml-100k, or take minutes an epoch on one thread.
SETTINGS = {
    "ConvNCF": {
        "epochs": 1,
        "embedding_size": 16,
        "cnn_channels": [1, 8, 8],
        "cnn_kernels": [4, 4],
        "cnn_strides": [4, 4],
    },
    "DGCF": {"epochs": 1},
    "FISM": {"epochs": 1},
    "NAIS": {"epochs": 1, "embedding_size": 16, "weight_size": 16},
    "NCL": {"num_clusters": 100},
    "NNCF": {"epochs": 1, "num_conv_kernel": 16},
    "RaCT": {"pretrain_epochs": 3},
}


def main() -> None:
    """Run what has not been run, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--output", default="runs/baselines")
    parser.add_argument("--models", nargs="*", help="default: all of RecBole's")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    folder = Path(arguments.output)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "baselines.json"
    rows = json.loads(path.read_text()) if path.exists() else {}
    for model in arguments.models or list_models()["recbole"]:
        if model not in rows:
            rows[model] = measure(model, arguments, folder)
            path.write_text(json.dumps(rows, indent=2) + "\n")
    print_table(rows)


def measure(model: str, arguments: argparse.Namespace, folder: Path) -> dict:
    """One run: what it took, or the reason why there is none."""
    settings = SETTINGS.get(model.removeprefix(HOST_PREFIX), {})
    fixed = {"output_dir": str(folder / "runs"), "show_progress": False, "state": "warning"}
    start = time.perf_counter()
    try:
        result = run_recbole_diffusion(
            model, arguments.dataset, config_dict={**fixed, "epochs": arguments.epochs, **settings}
        )
    except UserError as error:
        return {"runs": str(error)}
    return {
        "runs": "yes" + conditions(model.removeprefix(HOST_PREFIX), settings),
        "epoch": result["train_seconds_per_epoch"],
        "validation": result["valid_seconds"],
        "run": time.perf_counter() - start,
    }


def conditions(model: str, settings: dict) -> str:
    """Packages and settings that the run had beside the defaults."""
    packages = [
        f"`{needed.package}`"
        for needed in OPTIONAL_PACKAGES
        if needed.model == model and needed.is_used is always
    ]
    changed = [f"`{key}: {value}`" for key, value in settings.items() if "epochs" not in key]
    return " with " + ", ".join(packages + changed) if packages + changed else ""


def print_table(rows: dict) -> None:
    """One line a model, in markdown."""
    print("| Model | Runs | Seconds an epoch | Validation, s | Whole run, s |")
    print("| --- | --- | --- | --- | --- |")
    for model, row in sorted(rows.items(), key=lambda entry: entry[0].lower()):
        seconds = [f"{row[key]:.2f}" if key in row else "" for key in ("epoch", "validation")]
        whole = f"{row['run']:.0f}" if "run" in row else ""
        print(f"| {model} | {row['runs']} | {' | '.join(seconds)} | {whole} |")


if __name__ == "__main__":
    main()

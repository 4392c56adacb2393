"""What the loss explains: three models with three losses each, ``python benchmarks/losses.py``.

A comparison of BPR, LightGCN and InfoDCL, each with BPR's loss, binary cross-entropy and the
softmax over all items (``ranking_losses.py``), all else at its defaults, epochs capped. The same
command goes on with what is missing.
"""

import argparse
import itertools
import sys
from pathlib import Path
from typing import Any

from recbole_diffusion import compare
from recbole_diffusion.base.errors import UserError

MODELS = ("BPR", "LightGCN", "InfoDCL")
LOSSES = ("bpr", "bce", "softmax")
METRICS = ("recall@20", "ndcg@20")


def main() -> None:
    """Compare, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=100, help="at most")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--output", default="runs/losses")
    arguments = parser.parse_args()
    sys.path.append(str(Path(__file__).parent))  # each run imports `ranking_losses`
    pairs = [(model, loss) for model, loss in itertools.product(MODELS, LOSSES)]
    results = compare(
        [f"{model}-{loss}={model}ByLoss" for model, loss in pairs],
        arguments.dataset,
        config_dict={
            "modules": ["ranking_losses"],
            "seeds": arguments.seeds,
            "epochs": arguments.epochs,
            "processes": arguments.processes,
            "output_dir": arguments.output,
            "show_progress": False,
            **{f"{model}-{loss}.ranking_loss": loss for model, loss in pairs},
        },
    )
    print(table(results, arguments.epochs))


def table(results: dict[str, Any], epochs: int) -> str:
    """In Markdown: a row a model and loss, epochs of the first seed, and whether the cap cut it."""
    lines = [
        "| Model | Loss | Recall@20 | NDCG@20 | Best epoch | Epochs |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for entry in results["models"]:
        name = " | ".join(entry["name"].rsplit("-", 1))
        if not entry["test"]:
            lines.append(f"| {name} | not run | | | |")
            continue
        cell = entry["cells"][0]
        values = " | ".join(f"{entry['test'][metric]['mean']:.4f}" for metric in METRICS)
        cut = " (cap)" if cell["epochs_trained"] == epochs else ""
        ends = f"{cell['best_epoch'] + 1} | {cell['epochs_trained']}{cut}"
        lines.append(f"| {name} | {values} | {ends} |")
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")

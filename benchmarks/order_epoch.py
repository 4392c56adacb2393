"""Epochs and evaluations of models that know the order beside DiffRec's, and how fast products run.

    python benchmarks/order_epoch.py --dataset=ml-1m_clean-in-order --threads=1

The models, each with its defaults, take turns, so that other load on the machine meets all of them.
Operations are those of dense products, counted by PyTorch; lookups, sums over rows, the softmax and
the products within attention have none. The share is their speed in training over that of a float32
product of two 1024 x 1024 matrices, measured before each epoch.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffrec_inference import peak_mib
from lindiffrec_solve import product_speed, timed
from torch.utils.flop_counter import FlopCounterMode, mm_flop
from training_epoch import make_run

from recbole_diffusion.base.log import run_logger

# The layer over views, as docs/models/prefixdiff.md has it.
VIEWS = {
    "denoiser": "views", "prefix_share": 0.06, "train_batch_size": 64, "absorbed_share": 0.5,
    "levels": [0.0, 0.7], "horizon": 10, "horizon_decay": 0.5, "dropout": 0.0,
    "weight_average": 0.99,
}  # fmt: skip
SIDES: dict[str, tuple[str, dict[str, Any]]] = {
    "DiffRec": ("DiffRec", {}),
    "PrefixDiff": ("PrefixDiff", {}),
    "PrefixDiff, no closed form": ("PrefixDiff", {"skip": False}),
    "PrefixDiff, views": ("PrefixDiff", VIEWS),
    "SASRec": ("SASRec", {}),
    "SASRec of PrefixDiff's width": (
        "SASRec",
        {"embedding_size": 128, "n_heads": 4, "train_batch_size": 32},
    ),
    "GRU4Rec": ("GRU4Rec", {}),
}
WIDTH = 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="ml-1m_clean-in-order")
    parser.add_argument("--data_path")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    arguments.batch_size = None
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder, run_logger(Path(folder), "ERROR"):
        runs, operations = {}, {}
        for name, side in SIDES.items():
            trainer, loader, valid = make_run(*side, arguments, folder)
            if hasattr(trainer.model, "prepare"):
                trainer.model.prepare()
            runs[name] = trainer, loader, valid
            operations[name] = counted(trainer._train_epoch, loader, 0)
        epochs: dict[str, list[float]] = {name: [] for name in SIDES}
        evaluations: dict[str, list[float]] = {name: [] for name in SIDES}
        speeds: list[float] = []
        for number in range(1, arguments.rounds + 1):
            for name, (trainer, loader, valid) in runs.items():
                speeds.append(product_speed(WIDTH))
                epochs[name].append(timed(trainer._train_epoch, loader, number)[1])
                evaluations[name].append(timed(trainer._valid_epoch, valid)[1])
    print("model | epoch, s | of DiffRec's | evaluation, s | TFLOP an epoch | share")
    speed, base = statistics.median(speeds), statistics.median(epochs["DiffRec"])
    for name, seconds in epochs.items():
        epoch, evaluation = statistics.median(seconds), statistics.median(evaluations[name])
        share = operations[name] / epoch / speed
        print(
            f"{name} | {epoch:.1f} | {epoch / base:.1f} | {evaluation:.1f} | "
            f"{operations[name] / 1e12:.2f} | {share:.0%}"
        )
    print(f"products at {speed / 1e9:.0f} GFLOP/s; peak of all {peak_mib():.0f} MiB")


def counted(job: Callable[..., Any], *arguments: Any) -> float:
    """Operations of the dense products of a job."""

    def added(_sum: Any, a: Any, b: Any, *_others: Any, **_keys: Any) -> int:
        return mm_flop(a, b)

    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: added}) as counter:
        job(*arguments)
    return float(counter.get_total_flops())


if __name__ == "__main__":
    main()

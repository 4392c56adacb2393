"""An epoch as it is beside one compiled by ``torch.compile``, and one in bfloat16 (``enable_amp``).

    python benchmarks/compiled.py --dataset=ml-100k --models DiffRec SimDiff --threads=1

The three train the same model in turns. Printed are medians of CPU seconds, their ratios to the
epoch as it is, the seconds that compiling took, and the loss of an epoch that starts from the same
weights and seed, which tells how exact each is.
"""

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from taking_turns import cpu_seconds
from training_epoch import make_run

from recbole_diffusion.base.log import run_logger
from recbole_diffusion.base.randomness import seed_everything


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--data_path")
    parser.add_argument("--models", nargs="+", default=["DiffRec", "SimDiff", "InfoDCL"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    arguments.batch_size = None
    torch.set_num_threads(arguments.threads)
    for model in arguments.models:
        with tempfile.TemporaryDirectory() as folder, run_logger(Path(folder), "ERROR"):
            trainer, loader, _ = make_run(model, {}, arguments, folder)
            measure(model, trainer, loader, arguments.rounds)


def measure(name: str, trainer: Any, loader: Any, rounds: int) -> None:
    """Print a line for each of the three."""
    loss = trainer.model.calculate_loss
    sides: dict[str, tuple[Callable[..., Any], bool]] = {
        "as it is": (loss, False),
        "compiled": (torch.compile(loss, dynamic=True), False),
        "bfloat16": (loss, True),
    }
    weights = copy.deepcopy(trainer.model.state_dict())
    first: dict[str, tuple[float, float]] = {}
    for side, (function, is_half) in sides.items():
        trainer.model.load_state_dict(weights)
        trainer.optimizer = trainer._build_optimizer()
        seed_everything(0)
        loader.generator.manual_seed(0)
        start = time.perf_counter()
        first[side] = epoch(trainer, loader, function, is_half), time.perf_counter() - start
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, those in sides.items():
            seconds[side].append(cpu_seconds(lambda those=those: epoch(trainer, loader, *those)))
    base = statistics.median(seconds["as it is"])
    for side, (found, took) in first.items():
        median = statistics.median(seconds[side])
        print(
            f"{name}, {side}: {median:.3f} s, a ratio of {median / base:.2f}; "
            f"first epoch {took:.1f} s, loss {found:.6g}",
            flush=True,
        )


def epoch(trainer: Any, loader: Any, loss: Callable[..., Any], is_half: bool) -> float:
    """Sum of the losses of an epoch's batches."""
    trainer.model.train()
    total = 0.0
    for batch in loader:
        trainer.optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_half):
            terms = loss(batch.to(trainer.device))
        found = sum(terms) if isinstance(terms, tuple) else terms
        found.backward()
        trainer.optimizer.step()
        total += found.item()
    return total


if __name__ == "__main__":
    main()

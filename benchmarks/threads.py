"""Threads that wait by sleeping or by spinning, on idle and on busy cores: seconds of an epoch.

    python benchmarks/threads.py --models LightGCN InfoDCL DiffRec --dataset=ml-100k --rounds=3

Each choice is a process of its own, since PyTorch reads it once: OpenMP's default, which spins;
what this package sets, which spins a tenth of a millisecond; PASSIVE, which does not; one thread.
They take turns, first while nothing else runs, then beside one busy process for each core. Printed
are the medians of the wall-clock and processor seconds of an epoch, and the ratios to the first
choice. Losses are the same to the last bit.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

CHOICES = {
    "default": {},
    "ours": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"},
}
# What a process measures: its arguments are model, data set, data path, folder and epochs. PyTorch
# comes first, so that it does not see what the package sets.
PROGRAM = """
import sys, time
import torch
from recbole_diffusion.settings.config import Config
from recbole_diffusion.data.split import load_split
from recbole_diffusion.base.randomness import seed_everything
from recbole_diffusion.base.log import run_logger

model, dataset, data_path, folder, epochs = sys.argv[1:]
keys = {"output_dir": folder, "show_progress": False}
if data_path:
    keys["data_path"] = data_path
if model in ("InfoDCL", "SimDiff"):
    keys |= {"pretrain_epochs": 1}
with run_logger(None, "error"):
    config = Config(model, dataset, (), keys)
    seed_everything(1)
    split = load_split(config)
    config["split_hash"], config["data_hash"] = split.digest, split.data_digest
    config["checkpoint_dir"] = folder
    network = config.model_class(config, split.train._dataset)
    trainer = config.registration.trainer_class(config, network)
    trainer.on_fit_start(split.train, split.valid)
    trainer._saved = trainer._verbose = False
    for epoch in range(int(epochs) + 1):
        start = time.perf_counter(), time.process_time()
        trainer._train_epoch(split.train, epoch)
        if epoch:  # the first warms up
            spent = time.perf_counter() - start[0], time.process_time() - start[1]
            print(*spent, trainer.last_loss.item())
"""
SPIN = "while True: pass"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["LightGCN", "InfoDCL", "DiffRec"])
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--data_path", default="")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2, help="measured in each process")
    given = parser.parse_args()
    print(f"{'model':<10} {'cores':<5} {'threads':<11} {'s/epoch':>9} {'CPU s':>9} {'ratios':>13}")
    for model in given.models:
        for name, n_busy in (("idle", 0), ("busy", os.cpu_count() or 1)):
            others = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(n_busy)]
            try:
                measured = _measure(model, given)
            finally:
                for other in others:
                    other.kill()
            first = measured["default"]
            for choice, (wall, processor) in measured.items():
                ratios = f"{wall / first[0]:6.2f} {processor / first[1]:6.2f}"
                print(f"{model:<10} {name:<5} {choice:<11} {wall:9.3f} {processor:9.3f} {ratios}")


def _measure(model: str, given: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Medians of both seconds by choice; the choices take turns."""
    seconds: dict[str, list[list[float]]] = {choice: [] for choice in CHOICES}
    losses = set()
    for _ in range(given.rounds):
        for choice, variables in CHOICES.items():
            with tempfile.TemporaryDirectory() as folder:
                words = [model, given.dataset, given.data_path, folder, str(given.epochs)]
                printed = subprocess.run(
                    [sys.executable, "-c", PROGRAM, *words],
                    env={**_environment(), **variables},
                    stdout=subprocess.PIPE,
                    check=True,
                    text=True,
                ).stdout
            rows = [
                list(map(float, line.split())) for line in printed.splitlines()[-given.epochs :]
            ]
            seconds[choice] += [row[:2] for row in rows]
            losses.add(tuple(row[2] for row in rows))
    if len(losses) > 1:
        print(f"{model}: losses differ with the number of threads: {sorted(losses)}")
    return {
        choice: tuple(statistics.median(column) for column in zip(*rows, strict=True))
        for choice, rows in seconds.items()
    }


def _environment() -> dict[str, str]:
    """This process's without choices of threads."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))
    }
    return {**kept, "PYTHONPATH": str(Path(__file__).parents[1])}


if __name__ == "__main__":
    main()

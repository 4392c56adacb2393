"""One process against two ranks of one thread each: seconds of an epoch and of an evaluation.

    python benchmarks/ranks.py --models DiffRec LightGCN --rounds=3

The data are drawn: as many users, items and interactions as MovieLens-1M has. One process with one
thread, one with two, and two ranks by torchrun with one thread each take turns. Printed are medians
of the wall-clock seconds of an epoch and of an evaluation of the test part, the processor seconds
of the whole command over all its processes, and ratios to one process with one thread. On cores
that others use too, the wall-clock figures say little.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from synthetic import write_synthetic

USERS, ITEMS, INTERACTIONS = 6040, 3700, 1_000_000
# Threads and ranks of each way.
WAYS = {"1 thread": (1, 1), "2 threads": (2, 1), "2 ranks": (1, 2)}
PROGRAM = """
import sys, json
import recbole_diffusion
model, folder, epochs = sys.argv[1:]
keys = {"data_path": folder + "/data", "output_dir": folder + "/runs", "epochs": int(epochs),
        "show_progress": False, "state": "ERROR"}
result = recbole_diffusion.run_recbole_diffusion(model, "drawn", config_dict=keys)
with open(folder + "/result.json", "w") as stream:
    json.dump(result, stream)
"""


def measured(model: str, folder: Path, way: str, epochs: int) -> tuple[float, float, float]:
    """Seconds of an epoch, of an evaluation, and of all processors for the command."""
    threads, ranks = WAYS[way]
    program = folder / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable]
    if ranks > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [*command, str(program), model, str(folder), str(epochs)],
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    result = json.loads((folder / "result.json").read_text())
    return result["train_seconds_per_epoch"], result["test_seconds"], spent


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["DiffRec", "LightGCN"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_synthetic(folder / "data", "drawn", USERS, ITEMS, INTERACTIONS)
        for model in arguments.models:
            found: dict[str, list[tuple[float, float, float]]] = {way: [] for way in WAYS}
            for _ in range(arguments.rounds):
                for way in WAYS:
                    found[way].append(measured(model, folder, way, arguments.epochs))
            medians = {
                w: [statistics.median(x) for x in zip(*f, strict=True)] for w, f in found.items()
            }
            for way, numbers in medians.items():
                first = medians["1 thread"]
                texts = [f"{n:8.2f} s ({a / n:.2f})" for n, a in zip(numbers, first, strict=True)]
                print(f"{model:10} {way:10} epoch {texts[0]} evaluation {texts[1]} cpu {texts[2]}")


if __name__ == "__main__":
    main()

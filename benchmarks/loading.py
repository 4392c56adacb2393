"""From an atomic file to the loaders of a run, beside RecBole's own classes and beside the floor.

    python benchmarks/loading.py --interactions=1000000 --threads=1

Made interactions with ratings and times, split at random 8:1:1 within each user. Ours reads, checks
and splits the file, makes three loaders and hashes the split; "kept" does it with what an earlier
run kept; RecBole reads it, splits it and makes its loaders; the floor reads it by PyArrow, numbers
the ids, splits the rows by user and makes three sparse matrices, without a check. Printed are
medians of CPU seconds over rounds that take turns, their ratios to ours, and the peak memory of
each, measured in processes of their own. With ``--host_python`` RecBole's is of that Python, which
has RecBole alone.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.csv
import scipy.sparse as sp
import torch
from host_python import HostPython, expect_same, host_keys

SIDES = ("ours", "kept", "RecBole", "floor")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--interactions", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sides", default=",".join(SIDES))
    parser.add_argument("--host_python", help="with RecBole alone, for its side")
    parser.add_argument("--folder", help="of the data: one side, in a process of its own")
    arguments = parser.parse_args()
    sides = arguments.sides.split(",")
    if arguments.folder is not None:
        run(sides[0], Path(arguments.folder), arguments.threads)
        return
    with tempfile.TemporaryDirectory() as folder:
        write_log(Path(folder), arguments.interactions)
        found = {side: [] for side in sides}
        for _ in range(arguments.rounds):
            for side in sides:
                if side == "RecBole" and arguments.host_python:
                    found[side].append(host_elsewhere(arguments.host_python, folder))
                else:
                    found[side].append(in_process(side, folder, arguments.threads))
        made = {side: rounds[0][2:] for side, rounds in found.items()}
        for side in {"kept", "RecBole"} & set(sides):
            expect_same(f"interactions of the parts, {side}", made[sides[0]], made[side])
    ours = statistics.median(seconds for seconds, *_ in found[sides[0]])
    for side, rounds in found.items():
        seconds, peak, *_ = map(statistics.median, zip(*rounds, strict=True))
        print(f"{side}: {seconds:.2f} s, {peak:.0f} MiB, a ratio of {seconds / ours:.2f}")


def in_process(side: str, folder: str, threads: int) -> tuple[float, ...]:
    """CPU seconds, peak MiB, and interactions of the parts of one side."""
    words = [f"--sides={side}", f"--folder={folder}", f"--threads={threads}"]
    done = subprocess.run(
        [sys.executable, __file__, *words], check=True, capture_output=True, text=True
    )
    return tuple(map(float, done.stdout.splitlines()[-1].split()))


def host_elsewhere(python: str, folder: str) -> tuple[float, ...]:
    """The same of RecBole in another Python, on the same file."""
    from recbole_diffusion.settings.config import Config

    keys = host_keys(Config("BPR", "made", overrides={"data_path": folder}), folder)
    with HostPython(python, Path(folder), "loading", name="made", keys=keys) as host:
        found = host.run("load")
    return (found["seconds"], found["peak_mib"], *map(float, found["made"]))


def write_log(folder: Path, n: int) -> None:
    """``made/made.inter``: users and items of very different numbers of interactions."""
    draw = np.random.default_rng(0)
    n_users, n_items = n // 20, max(n // 100, 100)
    users = np.concatenate([np.arange(n_users).repeat(3), _skewed(draw, n_users, n, 1.7)])
    items = _skewed(draw, n_items, len(users), 2.2)
    pairs = draw.permutation(np.unique(users * n_items + items))[:n]
    table = {
        "user_id:token": pairs // n_items,
        "item_id:token": pairs % n_items,
        "rating:float": draw.integers(1, 6, len(pairs)),
        "timestamp:float": draw.integers(10**9, 15 * 10**8, len(pairs)),
    }
    (folder / "made").mkdir()
    pd.DataFrame(table).to_csv(folder / "made" / "made.inter", sep="\t", index=False)


def _skewed(draw: np.random.Generator, size: int, n: int, power: float) -> np.ndarray:
    return (size * draw.random(n) ** power).astype(np.int64)


def run(side: str, folder: Path, threads: int) -> None:
    """Print the CPU seconds of one side, imports not counted, and the peak of the process."""
    torch.set_num_threads(threads)
    load = {"ours": _ours, "kept": _kept, "RecBole": _recbole, "floor": _floor}[side](folder)
    start = time.process_time()
    sizes = load()
    seconds = time.process_time() - start
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, *sizes)


Load = Callable[[], Sequence[int]]  # gives the interactions of the parts


def _ours(folder: Path, least: float | None = None) -> Load:
    from recbole_diffusion.data.split import load_split
    from recbole_diffusion.settings.config import Config

    keys = {"data_path": str(folder), "output_dir": str(folder), "data_cache_mb": least}
    config = Config("DiffRec", "made", overrides=keys)
    _ = config.model_class  # whose imports are no part of it
    return lambda: list(load_split(config).sizes.values())


def _kept(folder: Path) -> Load:
    load = _ours(folder, 0.0)
    load()
    return load


def _recbole(folder: Path) -> Load:
    from recbole.data.dataset import Dataset
    from recbole.data.utils import data_preparation

    from recbole_diffusion.settings.config import Config

    config = Config("BPR", "made", overrides={"data_path": str(folder)})
    return lambda: [
        loader._dataset.inter_num for loader in data_preparation(config, Dataset(config))
    ]


def _floor(folder: Path) -> Load:
    def load() -> list[int]:
        path = folder / "made" / "made.inter"
        table = pyarrow.csv.read_csv(
            path, parse_options=pyarrow.csv.ParseOptions(delimiter="\t")
        ).to_pandas()
        users, items = (pd.factorize(table[name])[0] for name in table.columns[:2])
        order = np.random.default_rng(0).permutation(len(users))
        order = order[users[order].argsort(kind="stable")]
        counts = np.bincount(users)
        place = np.arange(len(users)) - np.repeat(counts.cumsum() - counts, counts)
        share = place / np.repeat(counts, counts)
        shape = users.max() + 1, items.max() + 1
        matrices = [
            sp.csr_matrix((np.ones(len(part)), (users[part], items[part])), shape)
            for low, high in ((0, 0.8), (0.8, 0.9), (0.9, 1))
            for part in [order[(share >= low) & (share < high)]]
        ]
        return [matrix.nnz for matrix in matrices]

    return load


if __name__ == "__main__":
    main()

"""DiffRec on made data of 100,000 users and items: time and memory of training and evaluation.

    python benchmarks/diffrec_scale.py --threads=1

Trains one epoch on a sample of the users and ranks all items for another, by the package's own
loaders and trainer. Printed are seconds and peak memory beside the multiply-adds counted from the
sizes, and the time that they would take at the speed of one such product alone.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from diffrec_inference import (
    inner_products,
    make_config,
    make_trainer,
    our_operations,
    peak_mib,
    rank,
    settings_of,
)
from synthetic import write_synthetic

from recbole_diffusion.base.log import run_logger
from recbole_diffusion.data.full_sort import users_per_batch
from recbole_diffusion.data.split import load_split

HIDDEN = [1000]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--interactions", type=int, default=3_000_000)
    parser.add_argument("--train_users", type=int, default=4000)
    parser.add_argument("--ranked_users", type=int, default=5000)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder, run_logger(None, "ERROR"):
        measure(arguments, Path(folder))


class FirstBatches:
    """The first batches of a training loader.

    Args:
        loader: RecBole's.
        n_batches: How many.
    """

    def __init__(self, loader: Iterable, n_batches: int) -> None:
        self._loader, self._n_batches = loader, n_batches

    def __len__(self) -> int:
        return self._n_batches

    def __iter__(self) -> Iterator:
        return itertools.islice(self._loader, self._n_batches)


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    """Write, load, train and rank; a line each."""
    sizes = arguments.users, arguments.items, arguments.interactions
    write_synthetic(folder, "large", *sizes)
    settings = settings_of("ours", HIDDEN, arguments.steps)
    config = make_config("ours", "large", str(folder), **settings)
    split, seconds = timed(lambda: load_split(config))
    print(f"data loaded: {seconds:.0f} s; peak memory {peak_mib():.0f} MiB")
    trainer = make_trainer(config, split, folder)
    network, n_items = trainer.model, trainer.model.n_items
    print(
        f"{network.n_users - 1} users, {n_items - 1} items, {split.sizes['train']} interactions in "
        f"train, {sum(p.numel() for p in network.parameters()) / 1e6:.0f} M parameters"
    )
    batch = config["train_batch_size"]
    product = product_of_a_step(batch, n_items)

    loader = FirstBatches(split.train, arguments.train_users // batch)
    seconds, speed = beside(product, lambda: trainer._train_epoch(loader, 0))
    count = 5 * n_items * HIDDEN[-1] + 3 * inner_products(HIDDEN)
    tell("trained on", len(loader) * batch, count, seconds, speed)

    users = torch.arange(1, arguments.ranked_users + 1)
    size = users_per_batch(config, n_items)
    seconds, speed = beside(product, lambda: rank(network, network.rows, users, size))
    row = network.rows.offsets.diff()[users].double().mean().item()
    count = our_operations(n_items, HIDDEN, arguments.steps, row, len(users))
    tell(f"ranked, {size} a batch, for", len(users), count, seconds, speed)


def product_of_a_step(batch: int, n_items: int) -> Callable[[], float]:
    """Gives the multiply-adds a second of a product that training makes, by itself."""
    left, right = torch.randn(batch, n_items), torch.randn(n_items, HIDDEN[-1])
    return lambda: left.numel() * HIDDEN[-1] / timed(lambda: left @ right)[1]


def beside(product: Callable[[], float], job: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of a job, and the speed of the product: a median of before and after."""
    before = [product() for _ in range(3)]
    seconds = timed(job)[1]
    return seconds, statistics.median(before + [product() for _ in range(3)])


def timed(job: Callable[[], Any]) -> tuple[Any, float]:
    """What a job gives, and its seconds."""
    start = time.perf_counter()
    result = job()
    return result, time.perf_counter() - start


def tell(what: str, n_users: int, operations: float, seconds: float, speed: float) -> None:
    """One line: seconds beside those that the counted operations would take at a speed."""
    alone = n_users * operations / speed
    print(f"{what} {n_users} users: {seconds:.1f} s; peak memory {peak_mib():.0f} MiB")
    print(
        f"  {n_users * operations / 1e9:.0f} G multiply-adds, {alone:.1f} s at "
        f"{speed / 1e9:.1f} G a second; ratio {seconds / alone:.2f}"
    )


if __name__ == "__main__":
    main()

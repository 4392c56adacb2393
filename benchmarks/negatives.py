"""Negatives of an epoch beside RecBole's sampler and loaders, and beside a bare draw.

    python benchmarks/negatives.py --threads=1

On made data: an epoch's negatives by RecBole's sampler, batch by batch as its loader asks for them,
and by ours at once; epochs of the loaders of BPR; and the candidates of a sampled evaluation.
Printed are medians of CPU seconds over pairs that take turns, and their ratios.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.data.dataloader import NegSampleEvalDataLoader, TrainDataLoader
from recbole.sampler import Sampler
from synthetic import write_synthetic
from taking_turns import tell

from recbole_diffusion.base.log import run_logger
from recbole_diffusion.data.split import Split, load_split
from recbole_diffusion.settings.config import Config

PHASES = ["train", "valid", "test"]
BATCH = 2048


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=5000)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--interactions", type=int, default=200_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder, run_logger(Path(folder), "ERROR"):
        sizes = (arguments.users, arguments.items, arguments.interactions)
        write_synthetic(Path(folder), "made", *sizes)
        for distribution, num in (("uniform", 1), ("uniform", 4), ("popularity", 1)):
            measure(folder, distribution, num, arguments.pairs)


def measure(folder: str, distribution: str, num: int, pairs: int) -> None:
    """One distribution, all sides."""
    wanted = {"distribution": distribution, "sample_num": num, "alpha": 1.0, "dynamic": False}
    keys = {"train_neg_sample_args": wanted, "train_batch_size": BATCH * num}
    mode = {"mode": "uni100" if distribution == "uniform" else "pop100"}
    config = Config("BPR", "made", overrides={"data_path": folder, "eval_args": mode, **keys})
    split = load_split(config)
    parts = [loader._dataset for loader in (split.train, split.valid, split.test)]
    host = Sampler(PHASES, parts, distribution, 1.0)
    sampler, ours = host.set_phase("train"), split.train._sampler
    users = parts[0].inter_feat[parts[0].uid_field].numpy()
    users = users[np.random.default_rng(0).permutation(len(users))]
    blocks = np.split(users, range(BATCH, len(users), BATCH))
    print(f"{distribution}, {num} a positive, {len(users)} positives")
    for words, mine, other in (
        (
            "RecBole's sampler",
            partial(ours.draw, users, num),
            lambda: [sampler.sample_by_key_ids(block, num) for block in blocks],
        ),
        (
            "a bare draw",
            partial(ours.draw, users, num),
            lambda: bare_draw(ours, len(users) * num),
        ),
        ("an epoch of RecBole's loader", *epochs(config, split, sampler)),
        ("candidates of RecBole's loader", *candidates(config, split, host.set_phase("test"))),
    ):
        tell(words, mine, other, pairs)


def bare_draw(sampler: Any, size: int) -> np.ndarray:
    """Items by their weights, without a look at what users have met."""
    return sampler._proposed(size, np.random.default_rng(0))


def epochs(config: Config, split: Split, sampler: Any) -> tuple[Callable[[], Any], ...]:
    """All batches of ours and of RecBole's loader of pairs."""
    host = TrainDataLoader(config, split.train._dataset, sampler, shuffle=True)
    return lambda: run_through(split.train), lambda: run_through(host)


def candidates(config: Config, split: Split, sampler: Any) -> tuple[Callable[[], Any], ...]:
    """The same of a sampled evaluation."""
    host = NegSampleEvalDataLoader(config, split.test._dataset, sampler)
    return lambda: run_through(split.test), lambda: run_through(host)


def run_through(loader: Iterable[Any]) -> None:
    """Make every batch."""
    for _ in loader:
        pass


if __name__ == "__main__":
    main()

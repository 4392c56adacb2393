"""Negatives of an epoch beside RecBole's sampler and loaders, and beside a bare draw.

    python benchmarks/negatives.py --threads=1

On made data: an epoch's negatives by RecBole's sampler, batch by batch as its loader asks for them,
and by ours at once; epochs of the loaders of BPR; and the candidates of a sampled evaluation.
Printed are medians of CPU seconds over pairs that take turns, and their ratios. With
``--host_python`` RecBole's side runs in that Python, which has RecBole alone.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from host_python import HostPython, expect_same, host_keys
from recbole.data.dataloader import NegSampleEvalDataLoader, TrainDataLoader
from recbole.sampler import Sampler
from synthetic import write_synthetic
from taking_turns import cpu_seconds, tell, tell_seconds

from recbole_diffusion.base.log import run_logger
from recbole_diffusion.data.split import Split, load_split
from recbole_diffusion.settings.config import Config

PHASES = ["train", "valid", "test"]
BATCH = 2048
WORDS = {
    "sampler": "RecBole's sampler",
    "loader": "an epoch of RecBole's loader",
    "candidates": "candidates of RecBole's loader",
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=5000)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--interactions", type=int, default=200_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--host_python", help="with RecBole alone, for its side")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder, run_logger(Path(folder), "ERROR"):
        sizes = (arguments.users, arguments.items, arguments.interactions)
        write_synthetic(Path(folder), "made", *sizes)
        for distribution, num in (("uniform", 1), ("uniform", 4), ("popularity", 1)):
            measure(folder, distribution, num, arguments)


def measure(folder: str, distribution: str, num: int, arguments: argparse.Namespace) -> None:
    """One distribution, all sides."""
    wanted = {"distribution": distribution, "sample_num": num, "alpha": 1.0, "dynamic": False}
    keys = {"train_neg_sample_args": wanted, "train_batch_size": BATCH * num}
    mode = {"mode": "uni100" if distribution == "uniform" else "pop100"}
    config = Config("BPR", "made", overrides={"data_path": folder, "eval_args": mode, **keys})
    split = load_split(config)
    sampler = split.train._sampler
    train = split.train._dataset
    users = train.inter_feat[train.uid_field].numpy()
    users = users[np.random.default_rng(0).permutation(len(users))]
    print(f"{distribution}, {num} a positive, {len(users)} positives")
    ours = {
        "sampler": partial(sampler.draw, users, num),
        "loader": lambda: run_through(split.train),
        "candidates": lambda: run_through(split.test),
    }
    with ExitStack() as stack:
        host = (
            host_elsewhere(stack, arguments.host_python, config, split, num)
            if arguments.host_python
            else host_here(config, split, distribution, users, num)
        )
        for part, words in WORDS.items():
            tell_seconds(words, ours[part], host[part], arguments.pairs)
    bare = lambda: bare_draw(sampler, len(users) * num)  # noqa: E731
    tell("a bare draw", ours["sampler"], bare, arguments.pairs)


def host_here(
    config: Config, split: Split, distribution: str, users: np.ndarray, num: int
) -> dict[str, Callable[[], float]]:
    """RecBole's classes in this process, by part."""
    parts = [loader._dataset for loader in (split.train, split.valid, split.test)]
    host = Sampler(PHASES, parts, distribution, 1.0)
    sampler = host.set_phase("train")
    blocks = np.split(users, range(BATCH, len(users), BATCH))
    train = TrainDataLoader(config, parts[0], sampler, shuffle=True)
    test = NegSampleEvalDataLoader(config, parts[2], host.set_phase("test"))
    works: dict[str, Callable[[], Any]] = {
        "sampler": lambda: [sampler.sample_by_key_ids(block, num) for block in blocks],
        "loader": lambda: run_through(train),
        "candidates": lambda: run_through(test),
    }
    return {part: partial(cpu_seconds, work) for part, work in works.items()}


def host_elsewhere(
    stack: ExitStack, python: str, config: Config, split: Split, num: int
) -> dict[str, Callable[[], float]]:
    """The same in another Python, on the same files."""
    folder = Path(config["data_path"]).parent
    keys, name = host_keys(config, folder), config["dataset"]
    request = {"name": name, "keys": keys, "num": num, "batch": BATCH}
    host = stack.enter_context(HostPython(python, folder, "negatives", **request))
    expect_same("interactions of the parts", list(split.sizes.values()), host.made["sizes"])
    return {part: host.seconds_of(part) for part in WORDS}


def bare_draw(sampler: Any, size: int) -> np.ndarray:
    """Items by their weights, without a look at what users have met."""
    return sampler._proposed(size, np.random.default_rng(0))


def run_through(loader: Iterable[Any]) -> None:
    """Make every batch."""
    for _ in loader:
        pass


if __name__ == "__main__":
    main()

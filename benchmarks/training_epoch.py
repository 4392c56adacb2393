"""Training epochs of our embedding models beside RecBole's LightGCN: same data, batch and threads.

    python benchmarks/training_epoch.py --dataset=office --rounds=5 --threads=1
    python benchmarks/training_epoch.py --models=SimDiff --features=office.text.npz

The epochs of the models take turns, so that other load on the machine meets all of them. Printed
are the median seconds of an epoch (loader, negative sampling and optimiser included), the ratios of
the medians, and the multiplications and additions of a step, counted from the sizes.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from diffrec_inference import make_trainer

from recbole_diffusion.base.log import run_logger
from recbole_diffusion.data.split import load_split
from recbole_diffusion.settings.config import Config

BASES = {
    "LightGCN": ("LightGCN", {"n_layers": 3, "reg_weight": 1e-4}),
    "LightGCN, 2 layers": ("LightGCN", {"n_layers": 2, "reg_weight": 1e-4}),
}
MODELS = {
    "InfoDCL-S": ("InfoDCL", {"channels": ["knowledge"]}),
    "InfoDCL-D": ("InfoDCL", {"channels": ["social", "knowledge"]}),
    "SimDiff": ("SimDiff", {}),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=[*MODELS])
    parser.add_argument("--dataset", default="office")
    parser.add_argument("--data_path")
    parser.add_argument("--features", help="file of item features that guide SimDiff")
    parser.add_argument("--batch_size", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.features:
        MODELS["SimDiff"][1]["item_features"] = {"features": {"file": arguments.features}}

    with tempfile.TemporaryDirectory() as folder, run_logger(Path(folder), "ERROR"):
        sides = BASES | {name: MODELS[name] for name in arguments.models}
        runs = {name: make_run(*side, arguments, folder) for name, side in sides.items()}
        seconds = {name: [] for name in sides}
        for round_number in range(arguments.rounds + 1):
            for name, (trainer, loader, _) in runs.items():
                start = time.perf_counter()
                trainer._train_epoch(loader, round_number)
                if round_number > 0:  # the first round warms up
                    seconds[name].append(time.perf_counter() - start)
    print_table(arguments, runs, seconds)


def make_run(model: str, settings: dict, arguments: argparse.Namespace, folder: str) -> tuple:
    """A trainer and its training loader, with random vectors in place of pre-trained ones."""
    batch = {"train_batch_size": arguments.batch_size} if arguments.batch_size else {}
    overrides = batch | settings
    if arguments.data_path:
        overrides["data_path"] = arguments.data_path
    config = Config(model, arguments.dataset, overrides=overrides)
    split = load_split(config)
    trainer = make_trainer(config, split, Path(folder))
    network = trainer.model
    if getattr(network, "needs_base_embeddings", False):
        rng = np.random.default_rng(0)
        sizes = network.n_users, network.n_items
        network.set_base_embeddings(
            *(0.1 * rng.standard_normal((n, network.embedding_size), np.float32) for n in sizes)
        )
    return trainer, split.train, split.valid


def lightgcn_operations(network: torch.nn.Module, loader: object) -> float:
    """Sparse products forward and backward: 2 operations an entry, dimension and layer, twice."""
    entries = network.norm_adj_matrix._nnz()
    return 2 * 2 * entries * network.latent_dim * network.n_layers


def infodcl_operations(network: torch.nn.Module, loader: object) -> float:
    """Dense products forward and backward, per channel, for the distinct items of a batch.

    Contrast: three products of B N d. PSNet and denoiser, in units of B d^2: Gram matrix, U and its
    map 3; recovery 6 + 2; metadata map, re-encoding and denoiser 3. The backward pass costs twice
    the forward one, but for the Gram matrix and U: constants when Eq. 1 takes raw metadata.
    """
    size, items_per_batch = network.embedding_size, distinct_items(loader, "item_id")
    contrast = 3 * items_per_batch * (network.n_items - 1) * size
    learned, constant = 1 + 6 + 2 + 3, 2
    maps = (3 * learned + constant) * items_per_batch * size**2
    return 2 * len(network.channels) * (contrast + maps)


def simdiff_operations(network: torch.nn.Module, loader: object) -> float:
    """Dense products forward and backward for the distinct items and the steps.

    The backward pass costs twice the forward one, but for the first map of the features, which have
    no gradient.
    """
    items = distinct_items(loader, "item_id", "neg_item_id")
    first, *others = [m.weight.numel() for m in network.alignment.modules() if hasattr(m, "weight")]
    denoiser = network.denoiser
    others += [denoiser.from_latent.weight.numel(), denoiser.from_guide.weight.numel()]
    of_steps = [denoiser.embed_step[0], denoiser.embed_step[2], denoiser.from_step]
    steps = network.diffusion.num_timesteps * sum(m.weight.numel() for m in of_steps)
    return 2 * (items * (2 * first + 3 * sum(others)) + 3 * steps)


def distinct_items(loader: object, *columns: str) -> float:
    """Mean number of distinct items in these columns of a batch."""
    drawn = (torch.cat([batch[column] for column in columns]) for batch in loader)
    return statistics.mean(len(items.unique()) for items in drawn)


COUNTS = {
    "LightGCN": lightgcn_operations,
    "InfoDCL": infodcl_operations,
    "SimDiff": simdiff_operations,
}


def print_table(arguments: argparse.Namespace, runs: dict, seconds: dict) -> None:
    """One line a model."""
    bases = [statistics.median(seconds[name]) for name in BASES]
    print(
        f"{arguments.dataset}, batch {arguments.batch_size}, {arguments.threads} thread(s), "
        f"median of {arguments.rounds} epochs (minimum, maximum)\n"
        f"{'':<20}{'':>12}{'':>8}{'':>8}{'ratio to LightGCN':>20}"
    )
    columns = f"{'s an epoch':>12}{'min':>8}{'max':>8}{'3 layers':>10}{'2 layers':>10}"
    print(f"{'model':<20}{columns}{'GFLOP a step':>14}")
    for name, (trainer, loader, _) in runs.items():
        count = COUNTS[type(trainer.model).__name__](trainer.model, loader)
        median = statistics.median(seconds[name])
        ratios = "".join(f"{median / base:>10.2f}" for base in bases)
        spread = f"{min(seconds[name]):>8.3f}{max(seconds[name]):>8.3f}"
        print(f"{name:<20}{median:>12.3f}{spread}{ratios}{count / 1e9:>14.3f}")


if __name__ == "__main__":
    main()

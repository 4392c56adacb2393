"""Training epoch of InfoDCL beside RecBole's LightGCN: same data, batch size, threads and run.

    python benchmarks/infodcl_epoch.py --dataset=office --rounds=5 --threads=1

The epochs of the models take turns, so that other load on the machine meets all of them. Printed
are the median seconds of an epoch (loader, negative sampling and optimiser included), the ratio of
the medians, and the multiplications and additions of a step, counted from the sizes.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from recbole_diffusion.config import Config
from recbole_diffusion.data.split import load_split
from recbole_diffusion.randomness import seed_everything
from recbole_diffusion.report import run_logger

MODELS = {
    "LightGCN": ("LightGCN", {"n_layers": 3, "reg_weight": 1e-4}),
    "InfoDCL-S": ("InfoDCL", {"channels": ["knowledge"]}),
    "InfoDCL-D": ("InfoDCL", {"channels": ["social", "knowledge"]}),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="office")
    parser.add_argument("--data_path")
    parser.add_argument("--batch_size", type=int, default=2000)
    parser.add_argument("--lightgcn_layers", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    MODELS["LightGCN"][1]["n_layers"] = arguments.lightgcn_layers

    with tempfile.TemporaryDirectory() as folder, run_logger(Path(folder), "ERROR"):
        runs = {name: make_run(*MODELS[name], arguments, folder) for name in MODELS}
        seconds = {name: [] for name in MODELS}
        for round_number in range(arguments.rounds + 1):
            for name, (trainer, loader) in runs.items():
                start = time.perf_counter()
                trainer._train_epoch(loader, round_number)
                if round_number > 0:  # the first round warms up
                    seconds[name].append(time.perf_counter() - start)
    print_table(arguments, runs, seconds)


def make_run(model: str, settings: dict, arguments: argparse.Namespace, folder: str) -> tuple:
    """A trainer and its training loader, with random vectors in place of pre-trained ones."""
    overrides = {"train_batch_size": arguments.batch_size, **settings}
    if arguments.data_path:
        overrides["data_path"] = arguments.data_path
    config = Config(model, arguments.dataset, overrides=overrides)
    split = load_split(config)
    config["split_hash"], config["checkpoint_dir"] = split.digest, folder
    seed_everything(0)
    network = config.model_class(config, split.train._dataset)
    if model == "InfoDCL":
        rng = np.random.default_rng(0)
        sizes = network.n_users, network.n_items
        network.set_base_embeddings(
            *(0.1 * rng.standard_normal((n, network.embedding_size), np.float32) for n in sizes)
        )
    trainer = config.registration.trainer_class(config, network)
    return trainer, split.train


def lightgcn_operations(network: torch.nn.Module, items_per_batch: float) -> float:
    """Sparse products forward and backward: 2 operations an entry, dimension and layer, twice."""
    entries = network.norm_adj_matrix._nnz()
    return 2 * 2 * entries * network.latent_dim * network.n_layers


def infodcl_operations(network: torch.nn.Module, items_per_batch: float) -> float:
    """Dense products forward and backward, per channel, for the distinct items of a batch.

    Contrast: three products of B N d. PSNet and denoiser, in units of B d^2: Gram matrix, U and its
    map 3; recovery 6 + 2; metadata map, re-encoding and denoiser 3. The backward pass costs twice
    the forward one, but for the Gram matrix and U: constants when Eq. 1 takes raw metadata.
    """
    size = network.embedding_size
    contrast = 3 * items_per_batch * (network.n_items - 1) * size
    learned, constant = 1 + 6 + 2 + 3, 2
    maps = (3 * learned + constant) * items_per_batch * size**2
    return 2 * len(network.channels) * (contrast + maps)


def print_table(arguments: argparse.Namespace, runs: dict, seconds: dict) -> None:
    """One line a model."""
    base = statistics.median(seconds["LightGCN"])
    print(
        f"{arguments.dataset}, batch {arguments.batch_size}, {arguments.threads} thread(s), "
        f"median of {arguments.rounds} epochs (minimum, maximum)"
    )
    print(f"{'model':<12}{'s an epoch':>12}{'min':>8}{'max':>8}{'ratio':>8}{'GFLOP a step':>14}")
    for name, (trainer, loader) in runs.items():
        items = statistics.mean(len(batch["item_id"].unique()) for batch in loader)
        count = lightgcn_operations if name == "LightGCN" else infodcl_operations
        median = statistics.median(seconds[name])
        print(
            f"{name:<12}{median:>12.3f}{min(seconds[name]):>8.3f}{max(seconds[name]):>8.3f}"
            f"{median / base:>8.2f}{count(trainer.model, items) / 1e9:>14.2f}"
        )


if __name__ == "__main__":
    main()

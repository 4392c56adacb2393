"""LD4MRec's evaluation, training epoch and memory beside DiffRec's, RecBole's and ours, in one run.

    python benchmarks/ld4mrec_speed.py --features=ml-1m_clean.text.npz --threads=1

Parts, by ``--parts``: ``evaluation`` (rank all items for all users), ``training`` (an epoch) and
``memory`` (each model in a process of its own). Sides take turns, so that other load on the machine
meets all. Printed are medians, their ratios, and multiply-adds counted from the sizes.
"""

import argparse
import multiprocessing
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffrec_inference import (
    host_operations,
    make_config,
    make_sides,
    make_trainer,
    our_operations,
    peaks_of_training,
    rank,
    settings_of,
    take_turns,
)

from recbole_diffusion.base.log import run_logger
from recbole_diffusion.base.randomness import seed_everything
from recbole_diffusion.data.full_sort import users_per_batch
from recbole_diffusion.data.split import Split, load_split
from recbole_diffusion.settings.config import Config

PARTS = ("evaluation", "training", "memory")
# RecBole's DiffRec, ours with one wide layer, and LD4MRec of the same width.
HOST_HIDDEN, HOST_STEPS, HOST_BATCHES = [200, 600], 40, (100, 400, 1500)
HIDDEN, STEPS = 1000, 5
BATCH = 400


def main() -> None:
    """Measure and print the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="ml-1m_clean")
    parser.add_argument("--data_path")
    parser.add_argument("--features", help="file of item features; without one, no modalities")
    parser.add_argument("--preference_hidden_size", type=int, default=64, help="key of LD4MRec")
    parser.add_argument("--parts", nargs="*", default=PARTS, choices=PARTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{arguments.threads} thread(s), medians of {arguments.rounds} rounds")
    with tempfile.TemporaryDirectory() as folder, run_logger(None, "ERROR"):
        for part in reversed(PARTS):  # a child's peak of memory starts from its parent's size
            if part in arguments.parts:
                print(f"\n{part}")
                globals()[f"measure_{part}"](arguments, Path(folder))


def config_of(side: str, arguments: argparse.Namespace) -> Config:
    """Settings of LD4MRec or of our DiffRec with a layer as wide."""
    if side == "DiffRec":
        settings = settings_of("ours", [HIDDEN], STEPS)
        return make_config("ours", arguments.dataset, arguments.data_path, **settings)
    settings = {"hidden_size": HIDDEN, "steps": STEPS, "train_batch_size": BATCH}
    settings |= {"learner": "adamw", "item_features": {}, "show_progress": False, "use_gpu": False}
    settings["preference_hidden_size"] = arguments.preference_hidden_size
    if arguments.features:
        settings["item_features"] = {"features": {"file": arguments.features}}
    if arguments.data_path:
        settings["data_path"] = arguments.data_path
    return Config("LD4MRec", arguments.dataset, (), settings)


def load(side: str, arguments: argparse.Namespace) -> tuple[Config, Split]:
    """Settings and split of a side."""
    config = config_of(side, arguments)
    return config, load_split(config)


# Multiply-adds


def block_operations(network: torch.nn.Module) -> tuple[int, int]:
    """Of a user between the first and the last layer: with a gradient of the input, and without.

    The signals are constants, so that the layers that read them make no gradient of these.
    """
    linear = {
        name: module.weight.numel()
        for name, module in network.denoiser.named_modules()
        if isinstance(module, torch.nn.Linear) and name != "output_layer"
    }
    of_signals = ("collaborative_layer", "scale.0", "shift.0")
    fixed = sum(size for name, size in linear.items() if name.endswith(of_signals))
    return sum(linear.values()) - fixed, fixed


def evaluation_operations(network: torch.nn.Module) -> float:
    """Of LD4MRec for a user: the sparse row in, the blocks, the product out."""
    row = network.rows.offsets.diff().sum().item() / (network.n_users - 1)
    return row * HIDDEN + sum(block_operations(network)) + HIDDEN * network.n_items


def training_operations(network: torch.nn.Module) -> float:
    """For a user: five products with all items, the blocks forward and backward."""
    products = 5 * network.n_items * HIDDEN
    if not hasattr(network, "modalities"):
        return products
    learned, fixed = block_operations(network)
    return products + 3 * learned + 2 * fixed


# Parts


def measure_evaluation(arguments: argparse.Namespace, folder: Path) -> None:
    """Seconds to rank all items for all users."""
    place = arguments.dataset, arguments.data_path
    host_networks = make_sides(*place, HOST_HIDDEN, HOST_STEPS)[1]
    host, networks, batches = host_networks["host"], {}, {}
    rows = host_networks["ours"].rows
    for side in ("LD4MRec", "DiffRec"):
        config, split = load(side, arguments)
        seed_everything(0)
        networks[side] = config.model_class(config, split.train._dataset).eval()
        batches[side] = users_per_batch(config, networks[side].n_items)
    users = torch.arange(1, host.n_users)
    jobs = {
        side: lambda side=side: rank(networks[side], rows, users, batches[side])
        for side in networks
    }
    for size in HOST_BATCHES:
        jobs[size] = lambda size=size: rank(host, rows, users, size)
    seconds = take_turns(arguments.rounds, jobs)
    best = min(HOST_BATCHES, key=seconds.__getitem__)
    n_items, row = host.n_items, rows.offsets.diff().sum().item() / len(users)
    counts = {
        "LD4MRec": evaluation_operations(networks["LD4MRec"]),
        "DiffRec": our_operations(n_items, [HIDDEN], STEPS, row, len(users)),
        best: host_operations(n_items, HOST_HIDDEN, HOST_STEPS),
    }
    labels = {
        "LD4MRec": "LD4MRec",
        "DiffRec": f"our DiffRec, [{HIDDEN}], {STEPS} steps",
        best: f"RecBole's DiffRec, {HOST_HIDDEN}, {HOST_STEPS} steps, best batch {best}",
    }
    print(f"{len(users)} users, {n_items - 1} items")
    print_rows(labels, {name: seconds[name] for name in counts}, counts)


def measure_training(arguments: argparse.Namespace, folder: Path) -> None:
    """Seconds of an epoch, loader and optimiser included."""
    jobs, counts = {}, {}
    for side in ("LD4MRec", "DiffRec"):
        config, split = load(side, arguments)
        trainer = make_trainer(config, split, folder)
        jobs[side] = lambda run=trainer, loader=split.train: run._train_epoch(loader, 0)
        counts[side] = training_operations(trainer.model)
    seconds = take_turns(arguments.rounds, jobs)
    labels = {"LD4MRec": "LD4MRec", "DiffRec": f"our DiffRec, [{HIDDEN}]"}
    print_rows(labels, seconds, counts)


def print_rows(labels: Mapping[Any, str], seconds: Mapping, counts: Mapping) -> None:
    """A line a side, with ratios of LD4MRec to it."""
    print(f"{'':<52}{'seconds':>9}{'ratio':>8}{'M a user':>10}{'ratio':>8}")
    for name, label in labels.items():
        ratio = seconds["LD4MRec"] / seconds[name]
        counted = counts["LD4MRec"] / counts[name]
        line = f"{label:<52}{seconds[name]:>9.3f}{ratio:>8.2f}"
        print(line + f"{counts[name] / 1e6:>10.1f}{counted:>8.2f}")


def measure_memory(arguments: argparse.Namespace, folder: Path) -> None:
    """Peak of two epochs of each model."""
    context = multiprocessing.get_context("spawn")
    for side in ("LD4MRec", "DiffRec"):
        with context.Pool(1) as pool:
            loaded, peak = pool.apply(peak_memory, (side, arguments, folder))
        above = f"{peak - loaded:.0f} MiB above packages and data"
        print(f"{side}: peak {peak:.0f} MiB, {above}")


def peak_memory(side: str, arguments: argparse.Namespace, folder: Path) -> tuple[float, float]:
    """MiB of this process with packages and data loaded, and at its peak in two epochs."""
    torch.set_num_threads(arguments.threads)
    return peaks_of_training(*load(side, arguments), folder)


if __name__ == "__main__":
    main()

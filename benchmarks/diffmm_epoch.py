"""DiffMM's training epoch by its parts, beside counted operations; and its memory.

    python benchmarks/diffmm_epoch.py --dataset=tiktok --rounds=3 --threads=1
    python benchmarks/diffmm_epoch.py --parts=memory

An epoch trains each modality's denoiser, rebuilds each modality's graph, and trains the
recommendation task. Beside the seconds of each part stand the multiply-adds counted from the sizes,
and the seconds that they would take at the speed of one dense product alone, measured in turn with
the parts. Seconds are the processor's for this process, which other load on the machine lengthens
less than the clock's. Random vectors of width 768 stand in for the texts that the TikTok data lack.

For the memory, processes of their own train one epoch on made data and on the same with twice the
users and interactions.
"""

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffrec_inference import make_trainer, peak_mib
from synthetic import write_synthetic

from recbole_diffusion.base.log import run_logger
from recbole_diffusion.data.split import Split, load_split
from recbole_diffusion.settings.config import Config

AUTHORS = "model_on_dataset/DiffMM/tiktok-authors.yaml"
TEXT_WIDTH = 768
# Seconds of the authors' code on TikTok with three modalities, on one core of another machine.
PUBLISHED = {"denoisers": 34, "graphs": 31, "recommendation": 76}
# Made data of which memory is measured: users, items, train interactions; then twice the users.
SMALL = (20_000, 10_000, 60_000)
MEMORY_KEYS = {"hidden_sizes": [64], "train_batch_size": 4096, "generator_batch_size": 512}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=("epoch", "memory"), default=["epoch"])
    parser.add_argument("--dataset", default="tiktok")
    parser.add_argument("--data_path")
    parser.add_argument("--config_files", nargs="*", help="default on tiktok: the authors'")
    parser.add_argument("--no_text", action="store_true", help="no random vectors as texts")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, run_logger(None, "ERROR"):
        if "epoch" in arguments.parts:
            measure_epoch(arguments, Path(folder))
        if "memory" in arguments.parts:
            measure_memory(arguments, Path(folder))


def measure_epoch(arguments: argparse.Namespace, folder: Path) -> None:
    """Parts and a dense product take turns, so that other load on the machine meets them all."""
    torch.set_num_threads(arguments.threads)
    config, split = load(arguments, folder)
    trainer = make_trainer(config, split, folder)
    jobs = parts_of(trainer, split)
    product = product_of_a_step(trainer.model)
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    speeds: list[float] = []
    product()  # warms up
    for _ in range(arguments.rounds):
        for name, job in jobs.items():
            speeds.append(product())
            seconds[name].append(timed(job))
            speeds.append(product())
    print_table(arguments, trainer, split, seconds, statistics.median(speeds))


def load(arguments: argparse.Namespace, folder: Path) -> tuple[Config, Split]:
    """Settings and data, with random vectors as one modality more."""
    files = arguments.config_files
    if files is None:
        files = [AUTHORS] if arguments.dataset == "tiktok" else []
    place = {"data_path": arguments.data_path} if arguments.data_path else {}
    config = Config("DiffMM", arguments.dataset, files, place)
    split = load_split(config)
    if not arguments.no_text:
        ids = split.train._dataset.field2id_token[config["ITEM_ID_FIELD"]][1:].astype(str)
        add_random_feature(config, ids, TEXT_WIDTH, folder)
    return config, split


def add_random_feature(config: Config, ids: np.ndarray, width: int, folder: Path) -> None:
    """Give all items a random vector under the name ``random``."""
    matrix = np.random.default_rng(0).standard_normal((len(ids), width), np.float32)
    np.savez(folder / "random.npz", ids=ids, matrix=matrix)
    declared = {"random": {"file": str(folder / "random.npz")}}
    config["item_features"] = {**(config["item_features"] or {}), **declared}


def parts_of(trainer: Any, split: Split) -> dict[str, Callable[[], Any]]:
    """The parts of an epoch, as the trainer does them."""
    network = trainer.model

    def train_denoisers() -> None:
        network.train()
        for name in network.modalities:
            trainer._train_generator(name, 0)

    def recommend() -> None:
        own_stage, trainer.on_epoch_start = trainer.on_epoch_start, lambda epoch: None
        trainer._train_epoch(split.train, 0)
        trainer.on_epoch_start = own_stage

    return {
        "denoisers": train_denoisers,
        "graphs": network.rebuild_graphs,
        "recommendation": recommend,
    }


def timed(job: Callable[[], Any]) -> float:
    """Seconds of the processor for a job."""
    start = time.process_time()
    job()
    return time.process_time() - start


def product_of_a_step(network: Any) -> Callable[[], float]:
    """Gives the multiply-adds a second of a product that denoising makes, by itself."""
    weight = network.generators[network.modalities[0]].denoiser.output_weight.detach()
    rows = torch.randn(1024, len(weight))
    return lambda: rows.numel() * weight.shape[1] / timed(lambda: rows @ weight)


def operations(trainer: Any, split: Split) -> dict[str, float]:
    """Multiply-adds of an epoch's parts; d the width of embeddings, h of the hidden layer.

    Denoisers: two products of rows and h at the input, a Gram matrix and its gradient at the
    output, the modality's signal. Graphs: the output and input weights composed, one step in h x h
    after another, one product with the items. Recommendation: three products of distinct users (or
    items) and all of them for a pair of views, features, and products with graphs, both ways.
    """
    network = trainer.model
    n_items, size = network.n_items, network.user_embedding.embedding_dim
    n_users, n_active = network.n_users - 1, int((network.rows.offsets.diff() > 0).sum())
    hidden = trainer.config["hidden_sizes"][-1]
    n_batches = -(-n_active // trainer.config["generator_batch_size"])
    n_modalities = len(network.modalities)
    steps, nnz = trainer.config["steps"], len(network.rows.items)
    denoisers = n_active * (2 * n_items * hidden + 3 * hidden**2)
    denoisers += n_batches * n_items * hidden * ((5 / 8 + 1) * hidden + 2 * size)
    graphs = n_items * hidden**2 + nnz * hidden
    graphs += n_users * ((steps - 1) * hidden**2 + n_items * hidden)
    widths = sum(network.get_buffer(f"features_{n}").shape[1] for n in network.modalities)
    of_views, n_steps = 0.0, len(split.train)
    for batch in split.train:
        n_drawn = [len(batch[key].unique()) for key in (network.USER_ID, network.ITEM_ID)]
        of_views += 3 * (n_drawn[0] * n_users + n_drawn[1] * n_items) * size
    pairs = n_modalities
    if network.contrastive_anchor == "modality":
        pairs *= n_modalities - 1
    generated = sum(len(network.generated_graph(n).items) for n in network.modalities)
    layers = 2 + network.n_layers * (1 + n_modalities)
    sparse = 2 * size * (layers * len(network.graph.items) + 2 * generated)
    rest = n_steps * (2 * n_items * widths * size + sparse)
    return {
        "denoisers": n_modalities * denoisers,
        "graphs": n_modalities * graphs,
        "recommendation": pairs * of_views + rest,
    }


def print_table(
    arguments: argparse.Namespace,
    trainer: Any,
    split: Split,
    seconds: dict[str, list[float]],
    speed: float,
) -> None:
    """One line a part."""
    names = trainer.model.modalities
    print(
        f"{arguments.dataset}, {len(names)} modalities ({', '.join(names)}), {arguments.threads} "
        f"thread(s), median of {arguments.rounds} epochs; dense product {speed / 1e9:.1f} G "
        "multiply-adds a second"
    )
    columns = f"{'s':>8}{'min':>8}{'max':>8}{'G mul-adds':>12}{'s alone':>9}{'ratio':>7}"
    print(f"{'part':<16}{columns}{'published s':>13}")
    counts, total = operations(trainer, split), 0.0
    for name, values in seconds.items():
        median, alone = statistics.median(values), counts[name] / speed
        total += median
        print(
            f"{name:<16}{median:>8.2f}{min(values):>8.2f}{max(values):>8.2f}"
            f"{counts[name] / 1e9:>12.0f}{alone:>9.2f}{median / alone:>7.2f}{PUBLISHED[name]:>13}"
        )
    print(f"{'epoch':<16}{total:>8.2f}{sum(PUBLISHED.values()):>65}")


def measure_memory(arguments: argparse.Namespace, folder: Path) -> None:
    """Peaks of an epoch with few users and with twice as many, each in a process of its own."""
    n_users, n_items, n_train = SMALL
    print(f"{'users':>8}{'items':>8}{'MiB loaded':>12}{'MiB peak':>10}{'users x items, MiB':>20}")
    for factor in (1, 2):
        sizes = factor * n_users, n_items, factor * n_train
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            loaded, peak = pool.apply(peak_of_epoch, (arguments, sizes, str(folder)))
        dense = sizes[0] * n_items * 4 / 2**20
        print(f"{sizes[0]:>8}{n_items:>8}{loaded:>12.0f}{peak:>10.0f}{dense:>20.0f}")


def peak_of_epoch(
    arguments: argparse.Namespace, sizes: tuple[int, int, int], folder: str
) -> tuple[float, float]:
    """MiB of this process with the data loaded, and at its peak in an epoch and an evaluation."""
    torch.set_num_threads(arguments.threads)
    name = f"made{sizes[0]}"
    write_synthetic(Path(folder), name, *sizes)
    with run_logger(None, "ERROR"):
        config = Config("DiffMM", name, (), {"data_path": folder, **MEMORY_KEYS})
        add_random_feature(config, np.arange(sizes[1]).astype(str), 16, Path(folder))
        split = load_split(config)
        loaded = peak_mib()
        trainer = make_trainer(config, split, Path(folder))
        trainer._train_epoch(split.train, 0)
        trainer.eval_collector.data_collect(split.train)
        trainer.evaluate(split.valid, load_best_model=False)
    return loaded, peak_mib()


if __name__ == "__main__":
    main()

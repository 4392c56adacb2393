"""DiffRec's inference and training epoch beside RecBole's: same weights, data, threads and run.

    python benchmarks/diffrec_inference.py --dataset=ml-1m_clean --threads=1

Parts, by ``--parts``: ``evaluation`` (rank all items for users of the data set), ``wide`` (the same
for made data of 34,000 items), ``steps`` (time against the number of steps), ``respacing`` (time
and lists when steps are left out) and ``training``. Sides take turns, so that other load on the
machine meets both. Printed are medians, their ratios, and multiply-adds counted from the sizes.
"""

import argparse
import itertools
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from recbole.data.interaction import Interaction
from synthetic import write_synthetic
from torch import Tensor

from recbole_diffusion.base.log import run_logger
from recbole_diffusion.base.randomness import seed_everything
from recbole_diffusion.data.full_sort import users_per_batch
from recbole_diffusion.data.split import Split, load_split
from recbole_diffusion.settings.config import Config, settable
from recbole_diffusion.training.checkpoint import read_checkpoint
from recbole_diffusion.training.trainer import RunTrainer

PARTS = ("training", "evaluation", "wide", "steps", "respacing")
COMMON = {
    "learner": "adamw",
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "train_batch_size": 400,
    "noise_schedule": "linear-var",
    "noise_scale": 0.005,
    "noise_min": 0.005,
    "noise_max": 0.01,
    "use_gpu": False,
    "show_progress": False,
}
WIDE = {"n_users": 2000, "n_items": 34_000, "n_train": 60_000}
TOP = 20


def main() -> None:
    """Measure and print the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="ml-1m_clean")
    parser.add_argument("--data_path")
    parser.add_argument("--parts", nargs="*", default=PARTS, choices=PARTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--users", type=int, default=1500, help="that are ranked for")
    parser.add_argument("--run", help="folder of a DiffRec run, for the part respacing")
    parser.add_argument("--epochs", type=int, default=10, help="of the part respacing without one")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{arguments.threads} thread(s), medians of {arguments.rounds} rounds")
    with tempfile.TemporaryDirectory() as folder, run_logger(None, "ERROR"):
        for part in PARTS:  # peaks of memory first: a child's count starts from its parent's size
            if part in arguments.parts:
                print(f"\n{part}")
                globals()[f"measure_{part}"](arguments, Path(folder))


# Both sides


def settings_of(side: str, hidden_sizes: list[int], steps: int) -> dict:
    """The same model by our keys or by RecBole's."""
    if side == "ours":
        return {**COMMON, "hidden_sizes": hidden_sizes, "steps": steps}
    widths = [*reversed(hidden_sizes), *hidden_sizes[1:]]
    own = {"dims_dnn": widths, "embedding_size": 10, "beta_fixed": True, "reweight": True}
    return {**COMMON, **own, "steps": steps, "mean_type": "x0", "norm": False}


def make_config(side: str, dataset: str, data_path: str | None, **settings: object) -> Config:
    """Settings of a side; ``data_path`` may be left out."""
    place = {} if data_path is None else {"data_path": data_path}
    model = "DiffRec" if side == "ours" else "recbole.DiffRec"
    return Config(model, dataset, (), {**place, **settings})


def make_sides(
    dataset: str, data_path: str | None, hidden_sizes: list[int], steps: int
) -> tuple[dict, dict]:
    """Configs and networks by side, with the same weights, for evaluation."""
    configs = {
        side: make_config(side, dataset, data_path, **settings_of(side, hidden_sizes, steps))
        for side in ("ours", "host")
    }
    data = load_split(configs["ours"]).train._dataset
    seed_everything(0)
    networks = {side: config.model_class(config, data).eval() for side, config in configs.items()}
    share_weights(**networks)
    return configs, networks


def share_weights(ours: torch.nn.Module, host: torch.nn.Module) -> None:
    """Give RecBole's network the weights of ours."""
    own = ours.denoiser
    theirs = [layer for layer in host.mlp.mlp_layers.mlp_layers if hasattr(layer, "weight")]
    layers = [own.first_layer, *own.layers_between, own.last_layer]
    for mine, other in zip([own.step_layer, *layers], [host.mlp.emb_layer, *theirs], strict=True):
        other.load_state_dict(mine.state_dict())


@torch.no_grad()
def rank(network: torch.nn.Module, rows: torch.nn.Module, users: Tensor, batch: int) -> Tensor:
    """First items for each user [n_users, TOP]: scores, masks of what is known, and the choice.

    What a model makes of its weights for an evaluation is made again.
    """
    network.train()
    network.eval()
    lists = []
    for block in users.split(batch):
        scores = network.full_sort_predict(Interaction({"user_id": block}))
        history = rows.batch(block)
        places = torch.arange(len(block)).repeat_interleave(history.lengths)
        scores[places, history.items] = -torch.inf
        scores[:, 0] = -torch.inf
        lists.append(scores.topk(TOP, dim=1).indices)
    return torch.cat(lists)


def overlap(one: Tensor, other: Tensor) -> float:
    """Share of items that both lists of a user hold."""
    return (one[:, :, None] == other[:, None, :]).any(dim=2).double().mean().item()


def take_turns(rounds: int, jobs: dict[object, Callable[[], object]]) -> dict[object, float]:
    """Median seconds of each job; a first round warms up."""
    seconds = {name: [] for name in jobs}
    for number in range(rounds + 1):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            if number > 0:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


# Multiply-adds


def inner_products(hidden_sizes: list[int]) -> int:
    """Of a user and a step between the first and the last hidden layer."""
    widths = [*reversed(hidden_sizes), *hidden_sizes[1:]]
    return sum(a * b for a, b in itertools.pairwise(widths))


def host_operations(n_items: int, hidden_sizes: list[int], steps: int) -> float:
    """Of a user: the whole network at each step."""
    return steps * (2 * n_items * hidden_sizes[-1] + inner_products(hidden_sizes))


def step_operations(hidden_sizes: list[int]) -> float:
    """Of a user and a step of the chain in the hidden layer."""
    return inner_products(hidden_sizes) + hidden_sizes[-1] ** 2


def our_operations(
    n_items: int, hidden_sizes: list[int], steps: int, row: float, n_users: int
) -> float:
    """Of a user: the sparse row in, the steps, the product out; and a share of making the chain."""
    width = hidden_sizes[-1]
    chain = n_items * width**2 / n_users
    return row * width + steps * step_operations(hidden_sizes) - width**2 + n_items * width + chain


# Parts


def measure_evaluation(arguments: argparse.Namespace, folder: Path) -> None:
    """Ours at its default batch beside RecBole's at several, on the data set's users."""
    sides = make_sides(arguments.dataset, arguments.data_path, [200, 600], 40)
    users = torch.arange(1, sides[1]["ours"].n_users)[: arguments.users]
    compare(arguments, sides, [200, 600], 40, users, len(users), (100, 400, 1500), 20)


def measure_wide(arguments: argparse.Namespace, folder: Path) -> None:
    """The same on made data; RecBole's side ranks for fewer users, seconds are a user's."""
    write_synthetic(folder, "wide", **WIDE)
    sides = make_sides("wide", str(folder), [1000], 100)
    users = torch.arange(1, sides[1]["ours"].n_users)
    compare(arguments, sides, [1000], 100, users, 100, (25, 100), 3)


def compare(
    arguments: argparse.Namespace,
    sides: tuple[dict, dict],
    hidden_sizes: list[int],
    steps: int,
    users: Tensor,
    n_host: int,
    host_batches: tuple[int, ...],
    n_single: int,
) -> None:
    """Print a user's seconds of each side, the ratios measured and counted, and the agreement.

    Args:
        arguments: Of the command.
        sides: What ``make_sides`` gives.
        hidden_sizes: Of the networks.
        steps: Of the chain.
        users: That our side ranks for.
        n_host: How many of them RecBole's side ranks for.
        host_batches: Its batches, the best of which counts.
        n_single: For how many it ranks one by one, as its default of `eval_batch_size` makes it.
    """
    configs, networks = sides
    rows, n_items = networks["ours"].rows, networks["ours"].n_items
    batch = users_per_batch(configs["ours"], n_items)
    counts = {"ours": len(users), 1: n_single, **dict.fromkeys(host_batches, n_host)}
    jobs = {"ours": lambda: rank(networks["ours"], rows, users, batch)}
    for size in (1, *host_batches):
        some = users[: counts[size]]
        jobs[size] = lambda some=some, size=size: rank(networks["host"], rows, some, size)
    seconds = {
        name: value / counts[name] for name, value in take_turns(arguments.rounds, jobs).items()
    }
    best = min(host_batches, key=seconds.get)
    row = rows.offsets.diff()[users].double().mean().item()
    ours = our_operations(n_items, hidden_sizes, steps, row, len(users))
    host = host_operations(n_items, hidden_sizes, steps)
    print(f"{n_items - 1} items, hidden {hidden_sizes}, {steps} steps; {len(users)} users")
    print(f"ours, {batch} users a batch: {1e3 * seconds['ours']:.3f} ms a user")
    for size in (1, *host_batches):
        print(f"RecBole's, {size} users a batch: {1e3 * seconds[size]:.3f} ms a user")
    print(f"ratio at its best batch: {seconds[best] / seconds['ours']:.1f}")
    print(f"ratio at its default of 1 user: {seconds[1] / seconds['ours']:.1f}")
    print(f"multiply-adds a user: {ours / 1e6:.1f} M, {host / 1e6:.1f} M; ratio {host / ours:.1f}")
    some = users[:n_host]
    lists = [rank(networks[side], rows, some, min(batch, n_host)) for side in ("ours", "host")]
    print(f"first {TOP} items that both sides have: {overlap(*lists):.5f}")


def measure_steps(arguments: argparse.Namespace, folder: Path) -> None:
    """Least squares of seconds = a + b T, and b beside the products of a step alone."""
    hidden_sizes = [200, 600]
    config = make_config("ours", arguments.dataset, arguments.data_path)
    data = load_split(config).train._dataset
    networks = {}
    for steps in (5, 10, 20, 40, 80):
        settings = settings_of("ours", hidden_sizes, steps)
        config = make_config("ours", arguments.dataset, arguments.data_path, **settings)
        networks[steps] = config.model_class(config, data).eval()
    network = networks[5]
    batch = users_per_batch(config, network.n_items)
    users = torch.arange(1, network.n_users)[:batch]
    jobs = {
        steps: lambda network=network: rank(network, network.rows, users, batch)
        for steps, network in networks.items()
    }
    jobs["products"] = products_of_a_step(hidden_sizes, len(users))
    seconds = take_turns(arguments.rounds, jobs)
    alone = seconds.pop("products")
    b, a = np.polyfit(list(seconds), list(seconds.values()), 1)
    for steps, value in seconds.items():
        print(f"{steps} steps: {value:.3f} s, fitted {a + b * steps:.3f} s")
    giga = len(users) * step_operations(hidden_sizes) / 1e9
    print(f"{len(users)} users: a = {a:.3f} s, b = {1e3 * b:.2f} ms a step")
    print(f"products of a step alone, {giga:.2f} G multiply-adds: {1e3 * alone:.2f} ms")
    print(f"b to these: {b / alone:.2f}")


def products_of_a_step(hidden_sizes: list[int], n_users: int) -> Callable[[], object]:
    """The hidden products of a step of the chain, and nothing else."""
    width = hidden_sizes[-1]
    pairs = [*itertools.pairwise([*reversed(hidden_sizes), *hidden_sizes[1:]]), (width, width)]
    inputs = [(torch.randn(n_users, a), torch.randn(a, b)) for a, b in pairs]
    return lambda: [x @ weight for x, weight in inputs]


def measure_respacing(arguments: argparse.Namespace, folder: Path) -> None:
    """Seconds and lists with k evenly spaced ones of a trained model's steps."""
    dataset, settings, state = trained(arguments, folder)
    data = load_split(Config("DiffRec", dataset, (), settings)).train._dataset
    steps, networks = settings["steps"], {}
    for kept in sorted({max(steps >> n, 1) for n in range(steps.bit_length())}, reverse=True):
        config = Config("DiffRec", dataset, (), {**settings, "respaced_steps": kept})
        networks[kept] = config.model_class(config, data).eval()
        networks[kept].load_state_dict(state)
    rows = networks[steps].rows
    users = torch.arange(1, networks[steps].n_users)[: arguments.users]
    batch = users_per_batch(config, networks[steps].n_items)
    jobs = {
        kept: lambda network=network: rank(network, rows, users, batch)
        for kept, network in networks.items()
    }
    seconds = take_turns(arguments.rounds, jobs)
    lists = {kept: job() for kept, job in jobs.items()}
    print(f"{'steps':>6}{'ms a user':>11}{'gain':>7}{f'first {TOP} as with all':>23}")
    for kept, value in seconds.items():
        shared = overlap(lists[kept], lists[steps])
        gain = seconds[steps] / value
        print(f"{kept:>6}{1e3 * value / len(users):>11.3f}{gain:>7.2f}{shared:>23.4f}")


def trained(arguments: argparse.Namespace, folder: Path) -> tuple[str, dict, dict]:
    """Data set, settings and weights of the run given, or of a model trained for some epochs."""
    if arguments.run:
        saved = read_checkpoint(Path(arguments.run) / "best.pth")
        place = {} if arguments.data_path is None else {"data_path": arguments.data_path}
        return saved["dataset"], {**settable(saved["settings"]), **place}, saved["state_dict"]
    config, split = load_side("ours", arguments)
    trainer = make_trainer(config, split, folder)
    for epoch in range(arguments.epochs):
        trainer._train_epoch(split.train, epoch)
    return arguments.dataset, config.settable(), trainer.model.state_dict()


def measure_training(arguments: argparse.Namespace, folder: Path) -> None:
    """An epoch of each side in turn, and the peak memory of each in a process of its own."""
    sides = ("ours", "host")
    context = multiprocessing.get_context("spawn")
    peaks = {}
    for side in sides:
        with context.Pool(1) as pool:
            peaks[side] = pool.apply(peak_memory, (side, arguments, folder))
    jobs = {}
    for side in sides:
        config, split = load_side(side, arguments)
        trainer = make_trainer(config, split, folder)
        jobs[side] = lambda run=trainer, loader=split.train: run._train_epoch(loader, 0)
    seconds = take_turns(arguments.rounds, jobs)
    network = trainer.model
    big, users = network.n_items * 600, network.n_users - 1
    # RecBole's side has a gradient of the rows too, as they stand in one array with the steps.
    for side, products in (("ours", 5), ("host", 6)):
        count = users * (products * big + 3 * inner_products([200, 600]))
        loaded, peak = peaks[side]
        print(
            f"{side}: {seconds[side]:.3f} s an epoch, {count / 1e9:.1f} G multiply-adds; peak "
            f"{peak:.0f} MiB, {peak - loaded:.0f} MiB above packages and data"
        )
    print(f"ratio of seconds: {seconds['ours'] / seconds['host']:.2f}")
    whole, above = ([peaks[side][1] - less * peaks[side][0] for side in sides] for less in (0, 1))
    print(f"ratio of peaks: {whole[0] / whole[1]:.2f}, above: {above[0] / above[1]:.2f}")


def load_side(side: str, arguments: argparse.Namespace) -> tuple:
    """Settings and split of a side."""
    settings = settings_of(side, [200, 600], 40)
    config = make_config(side, arguments.dataset, arguments.data_path, **settings)
    return config, load_split(config)


def make_trainer(config: Config, split: Split, folder: Path) -> RunTrainer:
    """Trainer and model, fresh."""
    config["split_hash"], config["checkpoint_dir"] = split.digest, str(folder)
    seed_everything(config["seed"])
    network = config.model_class(config, split.train._dataset)
    trainer = config.registration.trainer_class(config, network)
    trainer.eval_collector.data_collect(split.train)
    return trainer


def peak_memory(side: str, arguments: argparse.Namespace, folder: Path) -> tuple[float, float]:
    """MiB of this process with packages and data loaded, and at its peak in two epochs.

    Some packages are loaded by the first step: by one on small data, that RecBole's wheel holds.
    """
    torch.set_num_threads(arguments.threads)
    small = make_config(side, "ml-100k", None, **settings_of(side, [4], 2))
    small_split = load_split(small)
    make_trainer(small, small_split, folder)._train_epoch(small_split.train, 0)
    return peaks_of_training(*load_side(side, arguments), folder)


def peaks_of_training(config: Config, split: Split, folder: Path) -> tuple[float, float]:
    """MiB of this process as it stands, and at its peak in two epochs."""
    loaded = peak_mib()
    trainer = make_trainer(config, split, folder)
    for epoch in range(2):
        trainer._train_epoch(split.train, epoch)
    return loaded, peak_mib()


def peak_mib() -> float:
    """Largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


if __name__ == "__main__":
    main()

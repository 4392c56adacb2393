"""How each model's time and memory grow with the data, on one thread.

    python benchmarks/growth.py --folder=runs/growth --minutes=45
    python benchmarks/growth.py --folder=runs/growth --write

Made data with a power law, times and vectors (``synthetic.py``), at the sizes of ``SIZES``: twice
ten times the interactions on one catalogue, and on one that grows with them. Each cell, a model at
a size, is measured in a process of its own with the model's defaults: processor seconds of an
epoch or of the solution, of ranking all items for 5,000 users, and the peak memory. An epoch or a
ranking that is longer than its share of seconds is measured in part and scaled by the batches done.
LightGCN's stage before some models is replaced by given vectors. Cells lie in the folder, one file
each, and are not measured again; ``--write`` makes ``growth.json``, and of it
docs/performance.md with its picture.
"""

import argparse
import json
import multiprocessing
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffrec_inference import make_trainer, peak_mib
from growth_page import write_page
from synthetic import write_power_law
from taking_turns import cpu_seconds

from recbole_diffusion.base.errors import UserError, system_limit
from recbole_diffusion.base.files import read_json, write_json
from recbole_diffusion.base.log import run_logger
from recbole_diffusion.data.split import load_split
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.registry import list_models

RESULTS = Path(__file__).with_name("growth.json")
WIDTH = 64
RANKED_USERS = 5000
# Epochs that are short are repeated, and the least counts.
MOST_EPOCHS = 3
BASELINES = ("BPR", "EASE", "LightGCN")
VARIANTS = {
    "LinDiffRec, local": ("LinDiffRec", {"local_items": 500}),
    "PrefixDiff, local": ("PrefixDiff", {"local_items": 500}),
}
# A fresh interpreter imports for as long as a small cell takes.
FORK = multiprocessing.get_context("fork")
SMALLER_IS_ENOUGH = ("too large", "refused", "too long")


@dataclass(frozen=True)
class Size:
    """Of made data."""

    interactions: int
    items: int

    @property
    def users(self) -> int:
        """Of 20 interactions each, on average."""
        return self.interactions // 20

    @property
    def name(self) -> str:
        """Of the data set."""
        return f"made-{self.interactions}-{self.items}"

    def holds(self, other: "Size") -> bool:
        """Whether the other is smaller in both."""
        return other.interactions <= self.interactions and other.items <= self.items


SIZES = [
    *(Size(10**5, 10**4), Size(10**6, 10**4), Size(10**6, 10**5)),
    *(Size(10**7, 10**4), Size(10**7, 10**6)),
]


def main() -> None:
    """Measure what is not measured yet, or write what is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/growth"))
    parser.add_argument("--minutes", type=float, default=45, help="no cell starts later")
    parser.add_argument("--models", help="labels, with | between them; all without it")
    parser.add_argument("--memory_gib", type=float, default=12)
    parser.add_argument("--epoch_seconds", type=float, default=4, help="then in part")
    parser.add_argument("--ranking_seconds", type=float, default=2, help="then in part")
    parser.add_argument("--cell_seconds", type=int, default=30, help="after loading; then none")
    parser.add_argument("--write", action="store_true", help="write results and page")
    arguments = parser.parse_args()
    if arguments.write:
        write(arguments)
    else:
        measure_all(arguments)


def rows() -> dict[str, tuple[str, dict[str, Any]]]:
    """Model and settings of each row, by its label."""
    ours = {name: (name, {}) for name in list_models()["recbole_diffusion"]}
    return dict(sorted((ours | VARIANTS).items())) | {name: (name, {}) for name in BASELINES}


# The parent


def measure_all(arguments: argparse.Namespace) -> None:
    """Cell after cell, the small sizes first."""
    torch.set_num_threads(1)
    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])  # imports what the first optimiser does
    until = time.monotonic() + 60 * arguments.minutes
    (arguments.folder / "cells").mkdir(parents=True, exist_ok=True)
    labels = arguments.models.split("|") if arguments.models else rows()
    for size in SIZES:
        for label in labels:
            path = cell_path(arguments.folder, label, size)
            if path.exists():
                continue
            if time.monotonic() > until:
                return
            writing = FORK.Process(target=make_data, args=(arguments.folder, size))
            writing.start()
            writing.join()
            found = foregone(arguments.folder, label, size) or measured(label, size, arguments)
            write_json(path, {"label": label, "size": size.__dict__, **found})
            print(label, size.name, json.dumps(found), flush=True)


def cell_path(folder: Path, label: str, size: Size) -> Path:
    """Of the file of a cell."""
    return folder / "cells" / f"{label.replace(', ', '-')}-{size.name}.json"


def make_data(folder: Path, size: Size) -> None:
    """Write the data set, if it is not whole yet; its property file is written last."""
    data = folder / "data"
    if not (data / size.name / f"{size.name}.yaml").exists():
        write_power_law(data, size.name, size.users, size.items, size.interactions, WIDTH)


def foregone(folder: Path, label: str, size: Size) -> dict[str, Any] | None:
    """What a smaller cell tells of this one."""
    for smaller in SIZES[: SIZES.index(size)]:
        path = cell_path(folder, label, smaller)
        if size.holds(smaller) and path.exists():
            found = read_json(path)
            if found["status"] in SMALLER_IS_ENOUGH and "epoch_seconds" not in found:
                why = f"{found['status']} at {smaller.interactions} x {smaller.items} already"
                return {"status": "not run", "reason": why}
    return None


def measured(label: str, size: Size, arguments: argparse.Namespace) -> dict[str, Any]:
    """What a process of its own found; what it had found if it was killed."""
    receiver, sender = FORK.Pipe(duplex=False)
    process = FORK.Process(target=run_cell, args=(label, size, arguments, sender))
    process.start()
    sender.close()
    found: dict[str, Any] = {"phase": "start"}
    with suppress(EOFError):
        while True:
            found |= receiver.recv()
    process.join()
    if "status" in found:
        return found
    phase = found["phase"]
    if process.exitcode == -signal.SIGXCPU:
        reason = f"{phase}: more than {arguments.cell_seconds} processor seconds"
        return found | {"status": "too long", "reason": reason}
    return found | {"status": "failed", "reason": f"{phase}: exit code {process.exitcode}"}


# One cell


def run_cell(label: str, size: Size, arguments: argparse.Namespace, sender: Any) -> None:
    """Measure in this process; tell each thing as soon as it is known."""

    def tell(**facts: Any) -> None:
        sender.send({**facts, "peak_mib": round(peak_mib())})

    bytes_allowed = int(arguments.memory_gib * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (bytes_allowed, bytes_allowed))
    try:
        with run_logger(None, "ERROR"):
            measure_cell(label, size, arguments, tell)
    except UserError as error:
        tell(status="refused", reason=str(error))
    except (MemoryError, RuntimeError) as error:
        if system_limit(error) is None:
            raise
        tell(status="too large", reason=system_limit(error))
    else:
        tell(status="measured")


def measure_cell(
    label: str, size: Size, arguments: argparse.Namespace, tell: Callable[..., None]
) -> None:
    """Load, make, train and rank."""
    tell(phase="loading")
    config = config_of(label, size, arguments.folder)
    _ = config.model_class, config.registration.trainer_class  # whose imports are no part of it
    split = load_split(config)
    train = split.train._dataset
    sizes = {
        "users": train.user_num - 1,
        "items": train.item_num - 1,
        "train": split.sizes["train"],
    }
    tell(**sizes, loaded_mib=round(peak_mib()), phase="making")
    spent = int(time.process_time()) + arguments.cell_seconds
    resource.setrlimit(resource.RLIMIT_CPU, (spent, spent + 5))
    made: list[Any] = []
    making = cpu_seconds(lambda: made.append(make_trainer(config, split, arguments.folder)))
    trainer = made[0]
    making += cpu_seconds(lambda: trainer.on_fit_start(split.train, None))
    tell(making_seconds=making, is_solved=trainer.is_solved, phase="epoch")
    epoch, share = epoch_of(trainer, split.train, arguments.epoch_seconds)
    if trainer.is_solved:
        epoch += making
    tell(epoch_seconds=epoch, epoch_share=share, phase="ranking")
    seconds, users, share = ranking_of(trainer, split.test, arguments.ranking_seconds)
    tell(ranking_seconds=seconds, ranked_users=users, ranking_share=share)


def config_of(label: str, size: Size, folder: Path) -> Config:
    """The model's defaults on the made data."""
    model, settings = rows()[label]
    files = folder.resolve() / "data" / size.name
    embeddings = {
        "pretrained_user_embedding": str(files / "users.npz"),
        "pretrained_item_embedding": str(files / "items.npz"),
    }
    place = {"data_path": str(folder / "data"), "output_dir": str(folder), "show_progress": False}
    keys = {**place, **settings, "item_features": {"made": {"file": str(files / "items.npz")}}}
    known = Config(model, size.name, (), keys).settable()
    given = {key: path for key, path in embeddings.items() if key in known}
    return Config(model, size.name, (), {**keys, **given, "use_gpu": False})


class TimedBatches:
    """A loader's batches until some processor seconds have passed since the first.

    Args:
        loader: RecBole's.
        seconds: After which no further batch is given; two are at least.

    Attributes:
        given: Processor time when the first and the second batch were given.
        done: Batches given.
    """

    def __init__(self, loader: Any, seconds: float) -> None:
        self._loader, self._seconds = loader, seconds
        self.given: list[float] = []
        self.done = 0

    def __len__(self) -> int:
        return len(self._loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def __iter__(self) -> Iterator[Any]:
        self.done = 0
        self.given.clear()
        for batch in self._loader:
            now = time.process_time()
            if self.done < 2:
                self.given.append(now)
            elif now - self.given[0] > self._seconds:
                return
            self.done += 1
            yield batch


def epoch_of(trainer: Any, loader: Any, seconds: float) -> tuple[float, float]:
    """Processor seconds of an epoch, and the share of its batches that were done.

    What comes before the first batch counts once, and so does that batch, whose step is the first
    to touch what optimisers hold; the rest is scaled by the batches done.
    """
    found: list[float] = []
    batches = TimedBatches(loader, seconds)
    while not found or (len(found) < MOST_EPOCHS and sum(found) < seconds / 2):
        start = time.process_time()
        trainer._train_epoch(batches, len(found))
        if not batches.done:  # solved without a batch
            return time.process_time() - start, 1.0
        once = batches.given[-1] - start
        n_counted = max(batches.done - 1, 1)
        scaled = (time.process_time() - batches.given[-1]) / n_counted
        found.append(once + scaled * (len(batches) - batches.done + n_counted))
        if batches.done < len(batches) or trainer.is_solved:
            break
    return min(found), batches.done / len(batches)


def ranking_of(trainer: Any, loader: Any, seconds: float) -> tuple[float, int, float]:
    """Processor seconds of ranking for the first users, their number, and the share that was done.

    Where not all are ranked, the batches after the first give what a further one takes: what is
    made once an evaluation is not scaled.
    """
    n_users = min(RANKED_USERS, loader.sample_size)
    n_batches = -(-n_users // loader.step)

    def ranked(n: int) -> float:
        loader.sample_size = min(n * loader.step, n_users)
        return cpu_seconds(lambda: trainer.evaluate(loader, load_best_model=False))

    first = ranked(1)
    n = min(n_batches, max(2, int(seconds / first)))
    if n < n_batches:
        first = ranked(1)  # the one before warmed up
    several = ranked(n)
    a_batch = (several - first) / (n - 1) if several > first else several / n
    return several + (n_batches - n) * a_batch, n_users, n / n_batches


# What is kept


def write(arguments: argparse.Namespace) -> None:
    """The results of the folder, where it has cells, and the page of what is kept."""
    paths = sorted((arguments.folder / "cells").glob("*.json"))
    if paths:
        limits = {
            key: getattr(arguments, key)
            for key in ("memory_gib", "epoch_seconds", "ranking_seconds")
        }
        write_json(RESULTS, {"limits": limits, "cells": [kept(read_json(path)) for path in paths]})
    write_page(read_json(RESULTS), rows(), SIZES)


def kept(cell: dict[str, Any]) -> dict[str, Any]:
    """A cell with three digits of its seconds, and a reason of one line."""
    found = {key: value for key, value in cell.items() if key != "phase"}
    for key in (key for key in found if key.endswith(("seconds", "share"))):
        found[key] = float(f"{found[key]:.3g}")
    return found


if __name__ == "__main__":
    main()

"""A full-sort evaluation beside RecBole's own classes, and beside a bare product and choice.

    python benchmarks/evaluation.py --items=1700,14000,50000 --threads=1

BPR's scores on made data, Recall and NDCG at 10, 20 and 50, scoring and masks within. RecBole's
trainer, loader and collector rank the same part, with one user a batch, as its default gives for
more than 2048 items, and with the batch that is its best. Printed are medians of CPU seconds over
pairs that take turns, their ratios, and the ratio for making the loader. With ``--host_python``
RecBole's side runs in that Python, which has RecBole alone.
"""

import argparse
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffrec_inference import make_trainer
from host_python import HostPython, expect_same, host_keys
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.sampler import Sampler
from recbole.trainer import Trainer
from synthetic import write_synthetic
from taking_turns import cpu_seconds, tell, tell_seconds

from recbole_diffusion.base.log import run_logger
from recbole_diffusion.data.full_sort import FullSortLoader
from recbole_diffusion.data.split import Split, load_split
from recbole_diffusion.settings.config import Config

HOST_BATCHES = (8, 32, 128, 512)
PHASES = ["train", "valid", "test"]
INTERACTIONS_PER_USER = 20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", default="1700,14000,50000")
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--host_python", help="with RecBole alone, for its side")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder, run_logger(Path(folder), "ERROR"):
        for n_items in map(int, arguments.items.split(",")):
            measure(folder, n_items, arguments)


def measure(folder: str, n_items: int, arguments: argparse.Namespace) -> None:
    """One catalogue, all sides."""
    n_train = n_items + INTERACTIONS_PER_USER * arguments.users
    name = f"made-{n_items}"
    write_synthetic(Path(folder), name, arguments.users, n_items, n_train)
    config = Config("BPR", name, overrides={"data_path": folder, "show_progress": False})
    split = load_split(config)
    trainer = make_trainer(config, split, Path(folder))
    model = trainer.model.eval()
    users = split.test.uid_list
    parts = [loader._dataset for loader in (split.train, split.valid, split.test)]
    with ExitStack() as stack:
        best, host = (
            host_elsewhere(stack, arguments.host_python, config, split)
            if arguments.host_python
            else host_here(config, model, parts)
        )
        print(
            f"{n_items} items, {len(users)} users, {split.test.step} a batch (RecBole: {best}, 1)"
        )
        ours = evaluation(trainer, split.test)
        tell_seconds("RecBole, best batch", ours, host["best"], arguments.pairs)
        tell_seconds("RecBole, one user a batch", ours, host["one"], arguments.pairs)
        for words, k in (("product", 0), ("product and topk", 50)):
            bare = partial(bare_product, model, users, split.test.step, k)
            tell(words, ours, bare, arguments.pairs)
        tell_seconds(
            "making RecBole's loader, with its sampler",
            lambda: FullSortLoader(config, parts[2], parts[:2]),
            host["making"],
            arguments.pairs,
        )


def host_here(
    config: Config, model: Any, parts: list[Any]
) -> tuple[int, dict[str, Callable[[], float]]]:
    """The batch that is RecBole's best, and its classes in this process, by part."""
    trainer = Trainer(config, model)
    sampler = Sampler(PHASES, parts).set_phase("test")
    loaders = {size: host_loader(config, parts[2], sampler, size) for size in (1, *HOST_BATCHES)}
    best = min(HOST_BATCHES, key=lambda size: cpu_seconds(evaluation(trainer, loaders[size])))
    works: dict[str, Callable[[], Any]] = {
        "best": evaluation(trainer, loaders[best]),
        "one": evaluation(trainer, loaders[1]),
        "making": lambda: host_loader(
            config, parts[2], Sampler(PHASES, parts).set_phase("test"), best
        ),
    }
    return best, {part: partial(cpu_seconds, work) for part, work in works.items()}


def host_elsewhere(
    stack: ExitStack, python: str, config: Config, split: Split
) -> tuple[int, dict[str, Callable[[], float]]]:
    """The same in another Python, on the same files."""
    folder = Path(config["data_path"]).parent
    request = {"name": config["dataset"], "keys": host_keys(config, folder)}
    request["batches"] = HOST_BATCHES
    host = stack.enter_context(HostPython(python, folder, "evaluation", **request))
    expect_same("interactions of the parts", list(split.sizes.values()), host.made["sizes"])
    expect_same("items", split.test._dataset.item_num, host.made["items"])
    expect_same("users to rank for", len(split.test.uid_list), host.made["users"])
    return host.made["best"], {part: host.seconds_of(part) for part in ("best", "one", "making")}


def host_loader(config: Config, part: Any, sampler: Any, users: int) -> FullSortEvalDataLoader:
    """RecBole's loader of so many users a batch."""
    config["eval_batch_size"] = users * part.item_num
    return FullSortEvalDataLoader(config, part, sampler)


def evaluation(trainer: Any, loader: Any) -> Callable[[], Any]:
    """What is measured."""
    return lambda: trainer.evaluate(loader, load_best_model=False)


@torch.no_grad()
def bare_product(model: Any, users: torch.Tensor, size: int, k: int) -> None:
    """Scores of all items for blocks of users, and the k largest if k is not 0."""
    items = model.item_embedding.weight.T
    for block in users.split(size):
        scores = model.user_embedding.weight[block] @ items
        if k:
            scores.topk(k, dim=1)


if __name__ == "__main__":
    main()

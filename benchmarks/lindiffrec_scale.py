"""LinDiffRec's form for large catalogues, on made data: time and memory as the catalogue grows.

    python benchmarks/lindiffrec_scale.py --items=10000,100000,1000000 --threads=1

Ten interactions an item, twenty a user: half from the user's own taste (100 items), half from
what is popular. The data are made in memory; loading is not measured. Each size is solved in a
process of its own and ranks all items for ``--ranked_users``. A hit is a user whose held-out item,
one of the own taste, is among the first 20; beside it those of a ranking by popularity.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from diffrec_inference import peak_mib

from recbole_diffusion.models.lindiffrec.model import LinDiffRec
from recbole_diffusion.settings.config import Config

TASTE, A_USER, USERS_AT_ONCE = 100, 20, 100


def main() -> None:
    """Measure every size in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", default="10000,100000,1000000")
    parser.add_argument("--ranked_users", type=int, default=5000)
    parser.add_argument("--local_items", type=int, default=500)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.items.split(",")]
    if len(sizes) == 1:
        torch.set_num_threads(arguments.threads)
        measure(sizes[0], arguments)
        return
    print("items | interactions | solve, s | rank, s | peak, MiB | hits | hits by popularity")
    for size in sizes:
        own = [f"--{key}={value}" for key, value in vars(arguments).items() if key != "items"]
        subprocess.run([sys.executable, __file__, f"--items={size}", *own], check=True)


def measure(n_items: int, arguments: argparse.Namespace) -> None:
    """Solve and rank one size; a line of the table."""
    users, items, held_out = made(n_items)
    overrides = {"local_items": arguments.local_items, "steps": arguments.steps}
    overrides |= {"feature_weights": 0, "use_gpu": False}
    config = Config("LinDiffRec", "ml-100k", (), overrides)
    model = LinDiffRec(config, dataset_of(users, items, len(held_out), n_items + 1))
    start = time.perf_counter()
    model.solve()
    solved = time.perf_counter()
    popular = model.counts.clone()
    hits, seconds = hits_and_seconds(
        lambda users: masked(model, users, model.full_sort_predict({"user_id": users})),
        held_out,
        arguments.ranked_users,
    )
    by_count, _ = hits_and_seconds(
        lambda users: masked(model, users, popular.repeat(len(users), 1)),
        held_out,
        arguments.ranked_users,
    )
    print(
        f"{n_items} | {len(users)} | {solved - start:.0f} | {seconds:.0f} | {peak_mib():.0f} | "
        f"{100 * hits:.1f} % | {100 * by_count:.1f} %",
        flush=True,
    )


def masked(model: LinDiffRec, users: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Scores, changed in place: -inf for the items of the users' own."""
    rows = model.rows.batch(users)
    scores[rows.rows, rows.items] = -torch.inf
    return scores


@torch.no_grad()
def hits_and_seconds(
    score: Callable[[torch.Tensor], torch.Tensor], held_out: np.ndarray, n_ranked: int
) -> tuple[float, float]:
    """Share of the first users whose held-out item is among the first 20, and what ranking took.

    Args:
        score: Gives [B, n_items], own items at -inf, of users [B].
        held_out: Item of each user.
        n_ranked: Number of users.
    """
    found, seconds = 0, 0.0
    for users in torch.arange(1, n_ranked + 1).split(USERS_AT_ONCE):
        start = time.perf_counter()
        top = score(users).topk(20).indices
        seconds += time.perf_counter() - start
        found += int((top == torch.from_numpy(held_out[users.numpy()])[:, None]).sum())
    return found / n_ranked, seconds


def made(n_items: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users and items of all interactions, and an item that each user's taste holds out [m]."""
    draw = np.random.default_rng(0)
    n_users = n_items // 2 + 1
    users = np.repeat(np.arange(1, n_users), A_USER)
    tastes = draw.integers(max(1, n_items // TASTE), size=n_users)
    own = (TASTE * draw.random(len(users)) ** 2).astype(np.int64)
    own = 1 + (tastes[users] + own * max(1, n_items // TASTE)) % n_items
    popular = 1 + (n_items * draw.random(len(users)) ** 4).astype(np.int64)
    items = np.where(draw.random(len(users)) < 0.5, own, popular)
    places = (TASTE * draw.random(n_users) ** 2).astype(np.int64)
    held_out = 1 + (tastes + places * max(1, n_items // TASTE)) % n_items
    pairs = np.unique(users * (n_items + 1) + items)
    pairs = np.setdiff1d(pairs, np.arange(n_users) * (n_items + 1) + held_out)
    return pairs // (n_items + 1), pairs % (n_items + 1), held_out


def dataset_of(
    users: np.ndarray, items: np.ndarray, n_users: int, n_items: int, **fields: np.ndarray
) -> Any:
    """What a model reads of RecBole's dataset; further fields of interactions by name."""
    columns = {"user_id": users, "item_id": items, **fields}
    feat = {name: torch.from_numpy(column) for name, column in columns.items()}
    sizes = {"user_id": n_users, "item_id": n_items}
    return SimpleNamespace(inter_feat=feat, num=sizes.get, dataset_name="made")


if __name__ == "__main__":
    main()
